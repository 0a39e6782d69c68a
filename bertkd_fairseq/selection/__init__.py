"""Training text out of n-best lists: which hypotheses are taken, and the data-bin that they make."""
