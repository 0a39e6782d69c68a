"""Training logs as curves."""
