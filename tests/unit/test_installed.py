"""What records and checks say of this installation."""

from __future__ import annotations

import platform

from bertkd_fairseq import __version__
from bertkd_fairseq.installed import user_dir, versions
from tests.conftest import USER_DIR


def test_versions_are_those_of_what_is_installed() -> None:
    assert list(versions("numpy", "no-such-distribution")) == ["bertkd-fairseq", "python", "numpy"]
    assert versions() == {"bertkd-fairseq": __version__, "python": platform.python_version()}


def test_folder_is_that_of_the_package_that_runs() -> None:
    assert user_dir() == USER_DIR
