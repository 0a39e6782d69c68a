"""The teacher store: the teacher's top-k at every target token, on disk. Reading one needs only numpy."""

from bertkd_fairseq.topk_store.rows import TopKRows
from bertkd_fairseq.topk_store.store import TopKStore

__all__ = ["TopKRows", "TopKStore"]
