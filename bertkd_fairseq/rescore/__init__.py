"""Choose among the hypotheses of n-best lists by the log-probabilities that a teacher gives them."""
