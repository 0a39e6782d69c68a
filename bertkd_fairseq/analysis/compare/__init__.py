"""Score systems against a reference, test whether they differ, and show where they do."""
