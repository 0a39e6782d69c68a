"""fairseq optimizers of the plugin, registered on import."""

from bertkd_fairseq.optim import bert_adamw  # noqa: F401
