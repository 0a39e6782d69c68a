"""fairseq models of the plugin, registered on import: the teacher. The student is any stock model."""

from bertkd_fairseq.models import bert_cmlm_teacher  # noqa: F401
