"""Run the notebook ``examples/tour.ipynb``.

python -m tests.integration.tour    # run it and keep its outputs
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import CHECKOUT, command_environment

NOTEBOOK = CHECKOUT / "examples" / "tour.ipynb"


def read() -> Any:
    """Return the notebook as it lies in the repository."""
    import nbformat

    return nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)


def execute(notebook: Any, room: Path) -> Any:
    """Return a copy of the notebook with the outputs of a run in the folder ``room / "notebook"``.

    Everything that the kernel writes elsewhere goes into ``room``, too.

    :raises nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    folders = {"IPYTHONDIR": "ipython", "TMPDIR": "temporary"}
    for folder in ("notebook", *folders.values()):
        (room / folder).mkdir()
    environment = {name: str(room / folder) for name, folder in folders.items()}
    client = NotebookClient(
        copy.deepcopy(notebook),
        km=AsyncKernelManager(connection_file=str(room / "kernel.json")),
        timeout=600,
        record_timing=False,
        resources={"metadata": {"path": str(room / "notebook")}},
    )
    return client.execute(env={**command_environment(), **environment})


def main() -> None:
    """Write the notebook with the outputs of a run; of its metadata only what every run has alike."""
    notebook = read()
    with tempfile.TemporaryDirectory() as room:
        done = execute(notebook, Path(room))
    for cell in done.cells:
        cell.metadata = {}
    done.metadata = notebook.metadata
    text = json.dumps(done, indent=1, ensure_ascii=False, sort_keys=True)
    NOTEBOOK.write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    main()
