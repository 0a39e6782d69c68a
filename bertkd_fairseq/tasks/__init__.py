"""fairseq tasks; importing them registers every part of the plugin with fairseq."""

from bertkd_fairseq import compat

compat.apply()
compat.join_torchrun_without_cuda()

import bertkd_fairseq.criterions
import bertkd_fairseq.data.encoders
import bertkd_fairseq.models.bert_cmlm_teacher
import bertkd_fairseq.optim  # noqa: F401
