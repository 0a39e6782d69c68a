"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is half-written goes, and so do its processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was asked to end; ``signal`` says how."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = number


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise :class:`Terminated` while the context lasts (only the main thread can)."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # What is ignored stays so: nohup ignores SIGHUP.
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
