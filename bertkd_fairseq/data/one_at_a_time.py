"""A dataset that reads its file by seeking, made safe for several threads."""

from __future__ import annotations

import threading
from typing import Any


class OneAtATime:
    """Hands out the items of ``dataset`` to one thread at a time; everything else is the dataset's own.

    fairseq's ``lazy`` format has one file, in which every read moves the place of the next.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> Any:
        with self._lock:
            return self._dataset[index]

    def __len__(self) -> int:
        return len(self._dataset)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_dataset"], name)
