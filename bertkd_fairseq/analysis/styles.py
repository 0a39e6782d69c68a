"""The look that all reports share: ``report.css`` beside this module, and a file of each report's own."""

from __future__ import annotations

from importlib import resources


def report_style(package: str, name: str) -> str:
    """Return the common CSS and then the file ``name`` of ``package``, which knows what the common one lacks."""
    common = resources.files("bertkd_fairseq.analysis").joinpath("report.css")
    own = resources.files(package).joinpath(name)
    return "\n".join(file.read_text("utf-8") for file in (common, own))
