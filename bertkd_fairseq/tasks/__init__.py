"""fairseq tasks; importing them registers every part of the plugin with fairseq."""

from bertkd_fairseq import compat
from bertkd_fairseq.process import excepthook, threads

compat.apply()
threads.keep_few_primitives()
excepthook.install()
excepthook.install_for_hydra()
compat.join_torchrun_without_cuda()
compat.copy_checkpoints_whole()

import bertkd_fairseq.criterions
import bertkd_fairseq.data.encoders
import bertkd_fairseq.models
import bertkd_fairseq.optim  # noqa: F401
from bertkd_fairseq.tasks import bert_cmlm, translation_bert_kd  # noqa: F401
