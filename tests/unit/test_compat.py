"""Each patch of compat: what it allows, what it refuses, and that it stays away when not needed."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertkd_fairseq import compat
from tests.conftest import run_command

BROKEN_TORCHAUDIO = (
    "from . import inner\nraise OSError('libc10_cuda.so: cannot open shared object')"
)


class MakesFolder:
    """Unpickled without protection, it makes a folder: harmless, and visible."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def load_as(module: str) -> Callable[..., Any]:
    """Return a function that calls ``torch.load`` as code of ``module`` does."""
    namespace: dict[str, Any] = {"__name__": module, "torch": torch}
    exec("def load(*args, **kwargs):\n    return torch.load(*args, **kwargs)", namespace)
    load: Callable[..., Any] = namespace["load"]
    return load


@pytest.fixture(autouse=True)
def applied() -> None:
    compat.apply()


def test_apply_twice_changes_nothing() -> None:
    before = (torch.load, sys.excepthook, torch.serialization.get_safe_globals())
    compat.apply()
    after = (torch.load, sys.excepthook, torch.serialization.get_safe_globals())
    assert before[:2] == after[:2]
    assert len(before[2]) == len(after[2])


def test_only_harmless_classes_are_allowed() -> None:
    names = sorted(
        item[1] if isinstance(item, tuple) else f"{item.__module__}.{item.__qualname__}"
        for item in compat.safe_globals()
    )
    assert names == [
        "argparse.Namespace",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.dtypes.Float64DType",
        "numpy.dtypes.Int64DType",
        "numpy.ndarray",
    ]


def test_settings_and_count_arrays_load(tmp_path: Path) -> None:
    state = {"args": argparse.Namespace(arch="x", lr=[0.1]), "counts": np.arange(4).reshape(2, 2)}
    torch.save(state, tmp_path / "checkpoint.pt")
    loaded = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert loaded["args"] == state["args"]
    np.testing.assert_array_equal(loaded["counts"], state["counts"])


def test_without_compat_they_do_not_load(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace()}, tmp_path / "checkpoint.pt")
    code = "import sys, torch; torch.load(sys.argv[1])"
    done = run_command([sys.executable, "-c", code, tmp_path / "checkpoint.pt"], check=False)
    assert "argparse.Namespace" in done.stderr
    assert done.returncode == 1


def test_array_written_under_numpys_old_module_name_loads(tmp_path: Path) -> None:
    # Unzipped, so that the module's name can be replaced in place.
    torch.save({"c": np.arange(3)}, tmp_path / "new.pt", _use_new_zipfile_serialization=False)
    written = (tmp_path / "new.pt").read_bytes()
    module = np.zeros(0).__reduce__()[0].__module__.encode()
    assert module in (b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pt").write_bytes(written.replace(module, b"numpy.core.multiarray"))
    assert torch.load(tmp_path / "old.pt", weights_only=True)["c"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("arguments", [{}, {"weights_only": False}, {"weights_only": None}])
@pytest.mark.parametrize("zipped", [True, False])
def test_fairseq_can_not_turn_the_protection_off(
    tmp_path: Path, arguments: dict[str, Any], zipped: bool
) -> None:
    path, folder = tmp_path / "evil.pt", tmp_path / "made"
    torch.save({"model": {"w": MakesFolder(folder)}}, path, _use_new_zipfile_serialization=zipped)
    load = load_as("fairseq.checkpoint_utils")
    with path.open("rb") as file, pytest.raises(compat.CheckpointError) as caught:
        load(file, map_location="cpu", **arguments)
    assert not folder.exists()
    assert str(caught.value) == (
        "`checkpoint` must be tensors and plain settings that load without running code, but is "
        f"{path}, which asks for `posix.mkdir`, instead. The file was refused and nothing in it "
        "was run. Get it from a source that you trust; if you know the class to be harmless, allow "
        "it with torch.serialization.add_safe_globals."
    )


def test_loads_of_other_programs_pass_untouched(tmp_path: Path) -> None:
    path, folder = tmp_path / "evil.pt", tmp_path / "made"
    torch.save(MakesFolder(folder), path)
    load_as("elsewhere.fairseq")(path, weights_only=False)
    assert folder.exists()  # also: the checkpoints of these tests do run code when nothing forbids


def test_bare_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(b"cposix\nmkdir\n(S'" + str(tmp_path / "made").encode() + b"'\ntR.")
    with pytest.raises(compat.CheckpointError, match=r"which asks for `posix\.mkdir`, instead"):
        load_as("fairseq")(str(path))
    assert not (tmp_path / "made").exists()


def test_apply_does_not_import_fairseq() -> None:
    code = "import sys; from bertkd_fairseq import compat; compat.apply(); print(*sys.modules)"
    modules = run_command([sys.executable, "-c", code]).stdout.split()
    assert "torch" in modules
    assert not {"fairseq", "transformers"} & set(modules)


def try_torchaudio(tmp_path: Path, source: str, code: str) -> str:
    """Return what ``code`` prints where a torchaudio made of ``source`` is installed."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio/__init__.py").write_text(source)
    (tmp_path / "torchaudio/inner.py").touch()
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
    return run_command([sys.executable, "-c", code]).stdout


def test_broken_torchaudio_is_hidden(tmp_path: Path) -> None:
    code = """
from importlib.util import find_spec
from bertkd_fairseq import compat
compat.apply(); compat.apply()
print(find_spec("torchaudio"), [name for name in sys.modules if name.startswith("torchaudio.")])
try:
    import torchaudio
except ImportError as error:
    print(type(error).__name__)
"""
    assert try_torchaudio(tmp_path, BROKEN_TORCHAUDIO, code) == "None []\nModuleNotFoundError\n"


def test_working_torchaudio_is_left_alone(tmp_path: Path) -> None:
    code = """
from bertkd_fairseq import compat
compat.apply()
import torchaudio
print(torchaudio.voice)
"""
    assert try_torchaudio(tmp_path, "voice = 'heard'", code) == "heard\n"


def test_missing_torchaudio_stays_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.setattr(compat.importlib.util, "find_spec", lambda name: None)
    compat.hide_broken_torchaudio()
    assert "torchaudio" not in sys.modules


@pytest.mark.parametrize("first", ["", "import transformers"])
def test_transformers_imports_beside_a_broken_torchaudio(tmp_path: Path, first: str) -> None:
    code = f"""
{first}
from bertkd_fairseq import compat
compat.apply()
from transformers import BertForMaskedLM
print(BertForMaskedLM.__name__)
"""
    assert try_torchaudio(tmp_path, BROKEN_TORCHAUDIO, code) == "BertForMaskedLM\n"


def test_without_compat_transformers_does_not(tmp_path: Path) -> None:
    code = """
try:
    from transformers import BertForMaskedLM
except Exception as error:
    print(type(error).__name__)
"""
    seen = try_torchaudio(tmp_path, BROKEN_TORCHAUDIO, code)
    if not seen:
        pytest.skip("this transformers doesn't import torchaudio: the patch isn't needed")
    assert seen in ("OSError\n", "ModuleNotFoundError\n", "RuntimeError\n")


def test_a_copy_of_a_checkpoint_that_is_cut_off_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairseq.file_io import PathManager

    compat.copy_checkpoints_whole()
    compat.copy_checkpoints_whole()
    source, last = tmp_path / "checkpoint_1_2.pt", tmp_path / "checkpoint_last.pt"
    source.write_bytes(b"new" * 100)
    last.write_bytes(b"old")

    def killed(src: str, dst: str, *args: object, **kwargs: object) -> None:
        Path(dst).write_bytes(b"ne")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", killed)
        patched.setattr(shutil, "copy", killed)
        with pytest.raises(KeyboardInterrupt):
            PathManager.copy(str(source), str(last), overwrite=True)
    assert last.read_bytes() == b"old"
    assert PathManager.copy(str(source), str(last), overwrite=True)
    assert last.read_bytes() == source.read_bytes()
    assert sorted(tmp_path.iterdir()) == [source, last]
