"""Make training text from n-best lists: choose hypotheses, and write them as a data-bin."""
