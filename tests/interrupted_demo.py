"""End ``bertkd demo`` in each of its stages and look what is left: a table, by hand (Linux).

    python -m tests.interrupted_demo [--full]

One demo is begun again and again; in every stage it is ended once, by SIGINT and SIGTERM in turn, after the stage has
run for a moment. Then nothing of it may run any more, and the same command has to continue.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

from bertkd_fairseq.demo.stages import QUICK, plan
from tests.conftest import BERTKD, command_environment

MARK = "BERTKD_INTERRUPTED_DEMO"


def running(mark: str) -> list[str]:
    """Return the commands of all processes that inherited ``mark``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80])
        except OSError:
            continue
    return found


def end_in(stage: str, number: int, command: list[str], folder: Path) -> str:
    """Start the demo, end it when it is in ``stage``, and return the table's row."""
    mark = uuid.uuid4().hex
    env = {**command_environment(), MARK: mark}
    log = folder / "said"
    with log.open("w") as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said, cwd=folder)
        while process.poll() is None and f"] {stage}: " not in log.read_text():
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(number)
        asked = time.monotonic()
        code = process.wait()
    seconds = time.monotonic() - asked
    left = running(mark)
    last = log.read_text().splitlines()[-2].split(" | ")[-1]
    cells = (stage, signal.Signals(number).name, code, f"{seconds:.1f}", len(left), last)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print the table, then let the demo end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="not the quick form")
    form = [] if parser.parse_args().full else ["--quick"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*BERTKD, "demo", *form, "--destdir", "demo"]
        print(
            "| ended in | by | exit code | seconds | processes left | last line |\n|---|---|---|---|---|---|"
        )
        for i, stage in enumerate(plan(folder, QUICK, seed=1, precision="fp32", bertkd=BERTKD)):
            number = (signal.SIGINT, signal.SIGTERM)[i % 2]
            print(end_in(stage.name, number, command, folder), flush=True)
        done = subprocess.run(command, env=command_environment(), cwd=folder, capture_output=True)
        print(f"the same command at last: exit code {done.returncode}")
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
