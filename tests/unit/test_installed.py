"""What records and checks say of this installation."""

from __future__ import annotations

import platform

from bertkd_fairseq import __version__
from bertkd_fairseq.installed import method_options, user_dir, versions
from tests.conftest import USER_DIR


def test_versions_are_those_of_what_is_installed() -> None:
    assert list(versions("numpy", "no-such-distribution")) == ["bertkd-fairseq", "python", "numpy"]
    assert versions() == {"bertkd-fairseq": __version__, "python": platform.python_version()}


def test_folder_is_that_of_the_package_that_runs() -> None:
    assert user_dir() == USER_DIR


def test_options_of_the_method_are_an_argument_each() -> None:
    student = method_options("student")
    assert student[student.index("--adam-betas") + 1] == "(0.9, 0.98)"
    assert method_options("generate")[:2] == ["--lenpen", "0.6"]
