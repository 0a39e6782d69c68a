"""Run the notebook ``examples/tour.ipynb``.

python -m tests.integration.tour    # run it and keep its outputs
"""

from __future__ import annotations

import copy
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
    from nbclient import NotebookClient
    from traitlets.config import Config

    folders = {"IPYTHONDIR": "ipython", "TMPDIR": "temporary"}
    for folder in ("notebook", *folders.values()):
        (room / folder).mkdir()
    environment = {name: str(room / folder) for name, folder in folders.items()}
    client = NotebookClient(
        copy.deepcopy(notebook),
        config=Config(KernelManager={"connection_file": str(room / "kernel.json")}),
        kernel_name="python3",
        timeout=600,
        record_timing=False,
        coalesce_streams=True,  # else a slow machine makes several outputs of one
        resources={"metadata": {"path": str(room / "notebook")}},
    )
    return client.execute(env={**command_environment(), **environment})


def main() -> None:
    """Write the notebook with the outputs of a run; of its metadata only what every run has alike."""
    import nbformat

    notebook = read()
    with tempfile.TemporaryDirectory() as room:
        done = execute(notebook, Path(room))
    for cell in done.cells:
        cell.metadata = {}
    done.metadata = notebook.metadata
    nbformat.write(done, NOTEBOOK)


if __name__ == "__main__":
    main()
