"""Write what Moses' own tokenizer gives for the hard lines of ``tests/unit/text/moses_lines.jsonl``.

The file has a line ``[language, raw text, tokens]`` each. To add one, give it empty tokens and run::

    python tests/make_moses_lines.py mosesdecoder/scripts/tokenizer/tokenizer.perl
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LINES = Path(__file__).parent / "unit" / "text" / "moses_lines.jsonl"


def main(script: str) -> None:
    """Fill in the third column of every line."""
    rows = [json.loads(line) for line in LINES.read_text("utf-8").splitlines()]
    for lang in sorted({row[0] for row in rows}):
        mine = [row for row in rows if row[0] == lang]
        done = subprocess.run(
            ["perl", script, "-q", "-no-escape", "-threads", "1", "-l", lang],
            input="".join(f"{raw}\n" for _, raw, _ in mine).encode(),
            stdout=subprocess.PIPE,
            check=True,
        )
        for row, tokens in zip(mine, done.stdout.decode().split("\n")[:-1], strict=True):
            row[2] = " ".join(filter(None, tokens.split(" ")))
    LINES.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
