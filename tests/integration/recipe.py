"""Ways to run a recipe of ``examples`` on a miniature."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import CHECKOUT, run_command

EXAMPLES = CHECKOUT / "examples"
# Decoding costs much of the time: what another student would say is not asked for here.
DECODE_ONCE = """#!/usr/bin/env bash
case "$*" in *distilled*) ;; *) exec {real} "$@" ;; esac
while [[ $1 != --results-path ]]; do shift; done
mkdir -p "$2" && cp "$WORK/plain/generate-test.txt" "$2"
"""
RECORD = '#!/usr/bin/env bash\nprintf "%s\\n" "${0##*/}" "$@" >>"$RECORD"\n'


def environment(folder: Path, **given: object) -> dict[str, str]:
    """Return what a recipe needs to run in ``folder``: programs there come before those of this interpreter."""
    own = Path(sys.executable).parent
    env = {"WORK": folder / "work", "PYTHON": sys.executable, "PRECISION": "fp32", **given}
    env["PATH"] = os.pathsep.join((str(folder / "bin"), str(own), os.environ["PATH"]))
    return {name: str(value) for name, value in env.items()}


def program(folder: Path, name: str, text: str) -> None:
    """Put a program into what :func:`environment` looks through first."""
    file = folder / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text.replace("{real}", str(Path(sys.executable).parent / name)))
    file.chmod(0o755)


def mini(corpus: Path, bert: Path) -> dict[str, object]:
    """Return the settings with which a recipe of the paper runs on the miniature pair."""
    return {"SCALE": "mini", "DATA": corpus, "BERT": bert, "SRC": "src", "TGT": "tgt"}


def run_script(
    recipe: str, script: str, env: dict[str, str], **kwargs: object
) -> subprocess.CompletedProcess[str]:
    """Run a script of a recipe."""
    return run_command(["bash", EXAMPLES / recipe / script], env=env, **kwargs)


def settings_of(recipe: str, names: str, folder: Path) -> dict[str, str]:
    """Return settings that a recipe has when nothing is given but what it asks for."""
    show = 'source "$1"; for name in $2; do echo "${!name}"; done'
    env = environment(folder, DATA=folder, BERT=folder)
    command = ["bash", "-c", show, "_", EXAMPLES / recipe / "config.sh", names]
    return dict(zip(names.split(), run_command(command, env=env).stdout.splitlines(), strict=True))


def recorded(
    recipe: str, script: str, name: str, folder: Path, env: dict[str, str]
) -> list[list[str]]:
    """Return the command lines with which a script of a recipe calls a program, which does nothing."""
    program(folder, name, RECORD)
    file = folder / f"{name}.argv"
    file.unlink(missing_ok=True)
    run_script(recipe, script, {**env, "RECORD": str(file)})
    calls: list[list[str]] = []
    for word in file.read_text("utf-8").splitlines():
        if word == name:
            calls.append([])
        calls[-1].append(word)
    return calls
