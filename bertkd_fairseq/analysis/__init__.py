"""What people look at: scores, curves, and what a teacher knows."""
