"""fairseq criterions of the plugin, registered on import."""

from bertkd_fairseq.criterions import (  # noqa: F401
    bert_cmlm_cross_entropy,
    bert_kd_label_smoothed_cross_entropy,
)
