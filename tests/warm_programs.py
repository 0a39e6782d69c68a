"""``bertkd`` and ``fairseq-*`` as programs that the warm parent runs: shell scripts without the seconds of imports.

with warm_programs(warm_commands()) as folder:
    run_command(["bash", script], env={"PATH": f"{folder}:{path}"})
"""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.warm_commands import ENTRY_POINTS, WarmCommands

_PROGRAM = """#!{python} -IS
import json, os, socket, sys
name = os.path.basename(sys.argv[0])
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    with connection.makefile("rw") as file:
        order = {{"argv": [name, *sys.argv[1:]], "cwd": os.getcwd(), "env": dict(os.environ)}}
        file.write(json.dumps(order) + "\\n")
        file.flush()
        code, out, err = json.loads(file.readline())
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


@contextlib.contextmanager
def warm_programs(commands: WarmCommands) -> Iterator[Path]:
    """Give a folder with the programs; they work, one after the other, while the context lasts."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            done = commands.run(**json.loads(self.rfile.readline()), privileged=True)
            answer = json.dumps([done.returncode, done.stdout, done.stderr])
            self.wfile.write(f"{answer}\n".encode())

    with tempfile.TemporaryDirectory() as folder:  # the address of a socket has to be short
        address = os.path.join(folder, "socket")
        for name in ENTRY_POINTS:
            program = Path(folder, name)
            program.write_text(_PROGRAM.format(python=sys.executable, address=address), "utf-8")
            program.chmod(0o755)
        with socketserver.UnixStreamServer(address, Answer) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield Path(folder)
            finally:
                server.shutdown()
                thread.join()
