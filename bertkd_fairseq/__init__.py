"""BERT knowledge distillation for fairseq sequence-to-sequence models.

Importing this package is light on purpose: ``import bertkd_fairseq.topk_store`` needs only numpy.
fairseq's ``--user-dir`` imports :mod:`bertkd_fairseq.tasks` and :mod:`bertkd_fairseq.models`, which
apply :mod:`bertkd_fairseq.compat` first and then register every part with fairseq.
"""

__version__ = "0.1.0"
