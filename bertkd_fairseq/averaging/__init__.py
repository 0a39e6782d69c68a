"""The mean of the parameters of several checkpoints of one training."""
