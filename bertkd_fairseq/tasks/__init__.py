"""fairseq tasks; importing them registers every part of the plugin with fairseq."""

from bertkd_fairseq import compat

compat.apply()

import bertkd_fairseq.criterions
import bertkd_fairseq.data.encoders
import bertkd_fairseq.models.bert_cmlm_teacher
import bertkd_fairseq.optim  # noqa: F401
