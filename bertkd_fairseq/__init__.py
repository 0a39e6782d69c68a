"""BERT knowledge distillation for fairseq sequence-to-sequence models.

Importing this package is light on purpose: ``import bertkd_fairseq.topk_store`` needs only numpy.
fairseq's ``--user-dir`` imports :mod:`bertkd_fairseq.tasks` and :mod:`bertkd_fairseq.models`, which
apply :mod:`bertkd_fairseq.compat` first and then register every part with fairseq.
"""

import importlib
import os
import sys

__version__ = "0.1.0"


class _Folders(list[str]):
    """This package's ``__path__``, which registers every part when fairseq looks for ``--user-dir`` in it.

    fairseq imports the parts of ``--user-dir`` only if no module of that name is loaded. If one is, it asks no more
    than whether the folder is in the module's ``__path__``, and spells it ``fairseq/../bertkd_fairseq``.
    """

    def __contains__(self, folder: object) -> bool:
        found = isinstance(folder, str) and os.path.realpath(folder) in map(os.path.realpath, self)
        if found and "fairseq" in sys.modules:
            importlib.import_module("bertkd_fairseq.tasks")
        return found


__path__ = _Folders(__path__)
