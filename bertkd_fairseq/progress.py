"""Progress with rate and ETA: tqdm on a terminal, elsewhere log lines if it takes long enough."""

from __future__ import annotations

import logging
import sys
import threading
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Count ``unit`` up to ``total``, from any thread; use as a context manager."""

    def __init__(self, what: str, total: int, unit: str, done: int = 0) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self._start_count = done
        self._last_shown: int | None = None  # the count in the last line
        self._lock = threading.Lock()
        self._start = self._last_line = time.monotonic()
        self._bar = (
            tqdm(desc=what, total=total, unit=unit, initial=done, unit_scale=True)
            if sys.stderr.isatty()
            else None
        )

    def add(self, count: int) -> None:
        """Count ``count`` more."""
        with self._lock:
            self.done += count
            if self._bar is not None:
                self._bar.update(count)
            elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
                self._line()

    @property
    def rate(self) -> float:
        """Units per second since the start."""
        return (self.done - self._start_count) / max(time.monotonic() - self._start, 1e-9)

    def _line(self) -> None:
        self._last_line, self._last_shown = time.monotonic(), self.done
        remaining = (self.total - self.done) / max(self.rate, 1e-9)
        log.info(
            "%s: %d of %d %s (%.0f%%), %.0f %s/s, %d:%02d left",
            *(self.what, self.done, self.total, self.unit, 100 * self.done / max(self.total, 1)),
            *(self.rate, self.unit, *divmod(int(remaining), 60)),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(whole=error is None)

    def close(self, *, whole: bool = True) -> None:
        """Show the end, but only if the ``whole`` was done."""
        if self._bar is not None:
            self._bar.close()
        elif whole and self._last_shown not in (None, self.done):
            self._line()
