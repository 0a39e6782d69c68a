"""Which exceptions are a user's mistake; the messages themselves are in the table of mistakes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.process.user_errors import as_user_error


def told(action: Callable[[], object]) -> str | None:
    """Return what the user is told of what ``action`` raises."""
    try:
        action()
    except Exception as error:
        found = as_user_error(error)
        return None if found is None else str(found)
    raise AssertionError("nothing was raised")


def raising(error: Exception) -> Callable[[], object]:
    """Return a function that raises ``error``."""

    def act() -> None:
        raise error

    return act


def in_file(path: str, code: str) -> Callable[[], object]:
    """Return a function that is defined in the file ``path``, which needn't be there to be named."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    namespace: dict[str, Callable[[], object]] = {}
    exec(compile(code, path, "exec"), namespace)
    return namespace["act"]


def test_our_own_come_through_as_they_are() -> None:
    error = DataError("x")
    assert as_user_error(error) is error


def test_a_path_of_the_users() -> None:
    assert told(Path("/nowhere/text").read_text) == (
        "`/nowhere/text` can't be read or written: No such file or directory. "
        "Check the path and its permissions."
    )


@pytest.mark.parametrize("error", [ConnectionResetError(errno.ECONNRESET, "reset"), OSError("x")])
def test_what_names_no_path_may_be_a_bug(error: OSError) -> None:
    assert told(raising(error)) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk(number: int) -> None:
    reason = os.strerror(number)
    wanted = f"`output` can't be written: {reason}. Make room there, or choose another place."
    assert told(raising(OSError(number, reason))) == wanted
    assert told(raising(Exception(f"{reason} (os error {number})"))) == wanted  # a library in Rust


def test_a_read_only_disk() -> None:
    error = OSError(errno.EROFS, "Read-only file system", "/cdrom/x")
    assert told(raising(error)) == (
        "`/cdrom/x` can't be written: Read-only file system. Choose another place."
    )


def test_what_fails_after_a_full_disk_is_its_consequence() -> None:
    def save() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904

    assert told(save) == (
        "`output` can't be written: No space left on device. "
        "Make room there, or choose another place."
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def act():\n    raise Exception('name --x')", "name --x"),
        ("def act():\n    raise ValueError(\n        'x ' 'y'\n    )", "x y"),
        ("def act():\n    assert 1 > 2, 'must be'", "must be"),
        ("def act():\n    assert 1 > 2", None),
        ("def act():\n    {}['x']", None),
        ("def act():\n    int('x')", None),
    ],
)
def test_fairseqs_own_words_are_told_and_its_bugs_arent(
    tmp_path: Path, code: str, message: str | None
) -> None:
    assert told(in_file(str(tmp_path / "fairseq" / "options.py"), code)) == message


def test_words_of_other_programs_are_no_mistake(tmp_path: Path) -> None:
    code = "def act():\n    raise Exception('words')"
    assert told(in_file(str(tmp_path / "torch" / "optim.py"), code)) is None


def test_an_exception_without_a_traceback() -> None:
    assert as_user_error(ValueError("x")) is None
