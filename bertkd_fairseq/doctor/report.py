"""What ``bertkd doctor`` prints: the findings, and the variables to set for ``fairseq-train``."""

from __future__ import annotations

import os
import shlex

import bertkd_fairseq
from bertkd_fairseq.doctor.checks import BROKEN, Finding
from bertkd_fairseq.process import threads


def format_findings(findings: dict[str, Finding]) -> str:
    """Return the findings as aligned lines, advice below what it belongs to, a verdict at the end."""
    width = max(map(len, findings))
    lines = [f"bertkd-fairseq {bertkd_fairseq.__version__}"]
    for name, finding in findings.items():
        lines.append(f"{finding.status:<6}  {name:<{width}}  {finding.seen}")
        if finding.advice:
            lines.append(f"{'':<6}  {'':<{width}}  -> {finding.advice}")
    if added := threads.added():
        lines += ["set these for fairseq-train, as bertkd does for itself:", *export_lines(added)]
    broken = [name for name, finding in findings.items() if finding.status == BROKEN]
    lines.append(f"broken: {', '.join(broken)}" if broken else "everything needed works")
    return "\n".join(lines)


def export_lines(variables: dict[str, str]) -> list[str]:
    """Return shell lines that set ``variables``."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def precision_here() -> dict[str, str]:
    """Return what ``--precision auto`` takes here, unless the user has chosen."""
    from bertkd_fairseq import precision

    if os.environ.get("PRECISION", precision.AUTO) != precision.AUTO:
        return {}
    import torch

    if torch.cuda.is_available():  # fairseq-train and the dump take different ones there
        return {"PRECISION": precision.AUTO}
    return {"PRECISION": precision.choose(precision.AUTO)}
