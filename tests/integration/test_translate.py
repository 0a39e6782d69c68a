"""A student's translations are the same in every way to get them: fairseq-interactive, bertkd, CTranslate2, Python."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from bertkd_fairseq.text.raw import RawText
from tests.conftest import BERTKD, CHECKOUT, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import STUDENT, train_command

needs_ctranslate2 = pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None,
    reason="CTranslate2 isn't installed: pip install 'bertkd-fairseq[export]'",
)
BEAMS = [1, 5]
GENERATE = (USER_DIR / "options" / "generate.txt").read_text("utf-8").splitlines()


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, data_bin: Path) -> Path:
    """A student that has learnt to end its sentences."""
    folder = tmp_path_factory.mktemp("student")
    options = ("--task", "translation", "--criterion", "label_smoothed_cross_entropy")
    length = ("--max-update", 150, "--disable-validation", "--save-dir", folder)
    run_command(train_command(data_bin, *STUDENT, *options, *length), cwd=folder)
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def source(miniature_corpus: Path) -> list[str]:
    return read_lines(miniature_corpus / "test.src")


@pytest.fixture(scope="module")
def interactive(data_bin: Path, student: Path, source: list[str]) -> dict[int, list[str]]:
    """What fairseq-interactive says to each line, by beam size: a line at a time."""
    found = {}
    for beam in BEAMS:
        command = [*fairseq_command("interactive"), data_bin, "--user-dir", USER_DIR]
        command += ["--path", student, "--beam", beam, *GENERATE]
        output = run_command(command, input="\n".join(source) + "\n", cwd="/").stdout
        pairs = re.findall(r"^D-(\d+)\t[^\t]+\t(.*)$", output, re.MULTILINE)
        assert [int(number) for number, _ in pairs] == list(range(len(source)))
        found[beam] = [line for _, line in pairs]
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, data_bin: Path, student: Path) -> Path:
    """A folder with both exports."""
    folder = tmp_path_factory.mktemp("export")
    command = [*BERTKD, "export", "--path", student, "--data-bin", data_bin]
    for kind in ("float32", "int8"):
        said = run_command([*command, "--quantization", kind, "--destdir", folder / kind]).stdout
        assert re.fullmatch(rf"{re.escape(str(folder / kind))}: {kind}, \d+\.\d MB\n", said)
    return folder


def translate(lines: list[str], *options: object) -> list[str]:
    text = "".join(f"{line}\n" for line in lines)
    return run_command([*BERTKD, "translate", *options], input=text, cwd="/").stdout.split("\n")[
        :-1
    ]


@pytest.mark.parametrize("beam", BEAMS)
def test_fairseq_says_what_fairseq_interactive_says(
    beam: int, data_bin: Path, student: Path, source: list[str], interactive: dict[int, list[str]]
) -> None:
    given = ("--path", student, "--data-bin", data_bin, "--beam", beam)
    assert translate(source, *given) == interactive[beam]
    assert len({*interactive[beam]}) > 30


@needs_ctranslate2
@pytest.mark.parametrize("beam", BEAMS)
def test_ctranslate2_says_what_fairseq_says(
    beam: int, data_bin: Path, exported: Path, source: list[str], interactive: dict[int, list[str]]
) -> None:
    found = translate(source, "--path", exported / "float32", "--beam", beam)
    # Of a translation that is cut at the longest length, the engines may choose another: here there is none.
    text = RawText(DataBin.open(data_bin))
    shortest = min(10 + 1.2 * (len(symbols) + 1) for symbols in text.symbols(source))
    assert max(map(len, map(str.split, found))) < shortest
    assert found == interactive[beam]


@needs_ctranslate2
def test_a_checkpoint_is_exported_for_one_run(
    data_bin: Path, student: Path, source: list[str], interactive: dict[int, list[str]]
) -> None:
    given = ("--path", student, "--data-bin", data_bin, "--engine", "ctranslate2")
    assert translate(source[:5], *given) == interactive[5][:5]


@needs_ctranslate2
def test_an_export_needs_nothing_else(exported: Path, source: list[str], tmp_path: Path) -> None:
    """Moved away from all it came from. Positions, here half of the model, stay in float32."""
    folder = Path(shutil.copytree(exported / "int8", tmp_path / "moved"))
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    model = {"model.bin", "config.json", "shared_vocabulary.json"}
    assert names == {*model, "bertkd.json", "tokenizer/tokenizer.json"}
    small, whole = ((exported / kind / "model.bin").stat().st_size for kind in ("int8", "float32"))
    assert small < 0.7 * whole
    facts = json.loads((folder / "bertkd.json").read_text("utf-8"))["export"]
    assert facts["quantization"] == "int8"
    assert facts["max_positions"] == {"source": 1024, "target": 1024}
    found = translate(["", source[0], "", source[1]], "--path", folder)
    assert [bool(line) for line in found] == [False, True, False, True]


def test_files_instead_of_a_pipe(
    data_bin: Path,
    student: Path,
    source: list[str],
    interactive: dict[int, list[str]],
    tmp_path: Path,
) -> None:
    """Empty lines and Windows' ends of lines; the file at --output stays unless --force is given."""
    lines = [source[2], "", source[0], source[0]]
    (tmp_path / "in").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    (tmp_path / "out").write_text("mine")
    command = [*BERTKD, "translate", "--path", student, "--data-bin", data_bin]
    command += ["--input", "in", "--output", "out"]
    done = run_command(command, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "error: `out` exists already. Use another name, or --force to replace it.",
    )
    assert run_command([*command, "--force"], cwd=tmp_path).stdout == ""
    said = interactive[5]
    assert read_lines(tmp_path / "out") == [said[2], "", said[0], said[0]]


def test_from_python_in_any_folder(
    data_bin: Path,
    student: Path,
    source: list[str],
    interactive: dict[int, list[str]],
    tmp_path: Path,
) -> None:
    """The code of docs/translate.md."""
    page = (CHECKOUT / "docs" / "translate.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    files = {"distilled": str(student.parent), "data-bin": str(data_bin)}
    for block in blocks:
        code = block.replace("checkpoint_best.pt", student.name)
        code = code.replace("Ein Mann fährt Fahrrad.", source[0]).replace("Zwei Hunde.", source[1])
        for name, path in files.items():
            code = code.replace(f'"{name}', f'"{path}')
        said = run_command([sys.executable, "-c", code], cwd=tmp_path).stdout
        assert said.splitlines()[-2:] == interactive[5][:2]


@pytest.mark.parametrize("command", ["translate", "export"])
def test_without_ctranslate2_one_message_says_what_to_install(
    command: str, data_bin: Path, student: Path, tmp_path: Path
) -> None:
    argv = [command, "--path", str(student), "--data-bin", str(data_bin)]
    argv += {"translate": ["--engine", "ctranslate2"], "export": ["--destdir", "new"]}[command]
    code = "import sys; sys.modules['ctranslate2'] = None; from bertkd_fairseq.cli import main; "
    code += f"sys.exit(main({argv!r}))"
    done = run_command([sys.executable, "-c", code], cwd=tmp_path, check=False, input="a\n")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "error: CTranslate2 isn't installed. Install it: pip install 'bertkd-fairseq[export]'.\n",
    )
    assert [*tmp_path.iterdir()] == []


@needs_ctranslate2
def test_bench_engines(
    data_bin: Path, student: Path, miniature_corpus: Path, tmp_path: Path
) -> None:
    bench = [sys.executable, CHECKOUT / "benchmarks" / "bench_engines.py", student, data_bin]
    options = ("--input", miniature_corpus / "test.src", "--sentences", 9, "--repeats", 1)
    output = run_command([*bench, *options, "--json", tmp_path / "engines.json"]).stdout
    assert output.startswith("9 sentences, beam 5, 1 threads, medians of 1, wall clock, ")
    engines = json.loads((tmp_path / "engines.json").read_text())["engines"]
    assert list(engines) == ["fairseq", "CTranslate2 float32", "CTranslate2 int8"]
    assert engines["fairseq"]["ratio"] == 1
    assert engines["CTranslate2 float32"]["other_translations"] == 0
    sizes = [row["bytes"] for row in engines.values()]
    assert sizes[2] < sizes[1]
