"""``bertkd rescore`` on what the real ``fairseq-generate`` prints, against the definition."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch

from bertkd_fairseq.analysis.compare.generated import parse_generated
from bertkd_fairseq.files import hash_file
from bertkd_fairseq.rescore import asking
from bertkd_fairseq.rescore.config import RescoreConfig
from bertkd_fairseq.rescore.run import Rescored, rescore
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.lines import read_lines
from tests.conftest import BERTKD, USER_DIR, fairseq_command, run_command
from tests.integration.conftest import EXACT, STUDENT, train_command

NUM_MASKS = 3


@dataclass(frozen=True)
class Decoded:
    """A student of the miniature and its n-best lists."""

    student: Path
    valid: Path
    test: Path


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory, data_bin: Path) -> Decoded:
    folder = tmp_path_factory.mktemp("decoded")
    plain = ("--task", "translation", "--criterion", "label_smoothed_cross_entropy")
    run_command(train_command(data_bin, *STUDENT, *plain, "--max-update", 60, "--save-dir", folder))
    student = folder / "checkpoint_last.pt"
    for split, form in (("valid", ()), ("test", ("--tokenizer", "bertkd_moses"))):
        command = [
            *fairseq_command("generate"),
            data_bin,
            "--user-dir",
            USER_DIR,
            "--path",
            student,
        ]
        command += ["--gen-subset", split, "--beam", 4, "--nbest", 4, "--max-len-b", 20]
        command += ["--required-batch-size-multiple", 1, "--max-tokens", 1000, "--lenpen", 0.7]
        done = run_command([*command, "--bpe", "bert_wordpiece", *form])
        (folder / f"{split}.out").write_text(done.stdout, "utf-8")
    return Decoded(student, folder / "valid.out", folder / "test.out")


def settings(decoded: Decoded, data_bin: Path, path: Path | str, output: Path, **more: object):
    usual = {"weight": 0.5, "precision": "fp32", "num_masks": NUM_MASKS, "device": "cpu"}
    return RescoreConfig(
        nbest=str(decoded.test),
        data_bin=str(data_bin),
        path=str(path),
        output=str(output),
        **usual | more,
    )


@pytest.fixture(scope="module")
def tuned(
    tmp_path_factory: pytest.TempPathFactory, decoded: Decoded, data_bin: Path, teacher: Path
) -> Rescored:
    """Rescored with weights tuned on valid."""
    output = tmp_path_factory.mktemp("tuned") / "rescored.out"
    tuned_on = {"weight": None, "tune_nbest": str(decoded.valid)}
    return rescore(settings(decoded, data_bin, teacher, output, **tuned_on))


def naive_log_likelihoods(teacher: Path, data_bin: Path, nbest: Path, split: str) -> list[float]:
    """Ask the teacher about one masked copy at a time, made by hand, in the order of the file."""
    import bertkd_fairseq.tasks  # noqa: F401
    from bertkd_fairseq.tasks.checkpoint import load_checkpoint

    model, task = load_checkpoint(str(teacher), str(data_bin))
    model.float().eval()
    pairs, dictionary = task.load_pairs(str(data_bin), split), task.target_dictionary
    sums = []
    for number, one in parse_generated(read_lines(nbest)).items():
        for hypothesis in one.hypotheses:
            source = pairs.src[number].tolist()
            words = [dictionary.index(symbol) for symbol in hypothesis.symbols.split(" ") if symbol]
            target = [*words, dictionary.eos()]
            sums.append(0.0)
            for first in range(min(NUM_MASKS, len(target))):
                masked = [place % NUM_MASKS == first for place in range(len(target))]
                tokens = torch.tensor([[dictionary.bos(), *source, *target]])
                hidden = torch.tensor([[False] * (1 + len(source)) + masked])
                types = torch.tensor([[0] * (1 + len(source)) + [1] * len(target)])
                with torch.no_grad():
                    log_probs = model(tokens, types, hidden).double().log_softmax(1)
                gold = [token for token, is_masked in zip(target, masked, strict=True) if is_masked]
                sums[-1] += float(log_probs[range(len(gold)), gold].sum())
    return sums


def test_the_score_is_the_definitions(
    tmp_path: Path, decoded: Decoded, data_bin: Path, teacher: Path
) -> None:
    """One masked copy at a time, student and teacher added by hand, the order by Python's sort."""
    config = settings(
        decoded, data_bin, teacher, tmp_path / "new.out", length_bonus=0.25, lenpen=0.5
    )
    done = rescore(config)
    naive = iter(naive_log_likelihoods(teacher, data_bin, decoded.test, "test"))
    old, new = (parse_generated(read_lines(path)) for path in (decoded.test, done.output))
    assert list(old) == list(new)
    assert len(old) == 61
    for number, one in old.items():
        scored = []
        for hypothesis in one.hypotheses:
            student = [float(x) * math.log(2) for x in hypothesis.positional.split()]
            length = len(student)
            score = (sum(student) + 0.5 * next(naive) + 0.25 * length) / length**0.5
            scored.append((score / math.log(2), hypothesis))
        scored.sort(key=lambda pair: -pair[0])
        found = new[number].hypotheses
        np.testing.assert_allclose(
            [float(h.score) for h in found], [score for score, _ in scored], rtol=1e-5
        )
        assert [h.lines(0)[2:] for h in found] == [h.lines(0)[2:] for _, h in scored]
        assert [h.decoded for h in found] == [h.decoded for _, h in scored]
        assert new[number].head == one.head


def test_positional_scores_are_what_h_lines_say(decoded: Decoded) -> None:
    """So that their sum is the student's log-probability: H- divides it by length ** lenpen."""
    for one in parse_generated(read_lines(decoded.test)).values():
        for hypothesis in one.hypotheses:
            numbers = [float(word) for word in hypothesis.positional.split()]
            assert len(numbers) == len(hypothesis.symbols.split()) + 1
            normalized = sum(numbers) / len(numbers) ** 0.7
            assert float(hypothesis.score) == pytest.approx(normalized, abs=1e-4 * len(numbers))


def test_bleu_is_that_of_compare(tuned: Rescored, decoded: Decoded, data_bin: Path) -> None:
    """Of the lists before and after, whichever way they were decoded; and what is tuned is no worse for it."""
    systems = {"first": decoded.test, "rescored": tuned.output}
    named = [part for name, path in systems.items() for part in ("--system", f"{name}={path}")]
    report = tuned.output.parent / "compare.json"
    small = ("--resamples", 9, "--trials", 1)
    run_command([*BERTKD, "compare", "--data-bin", data_bin, *named, *small, "--json", report])
    compared = json.loads(report.read_text())
    valid, test = tuned.splits
    for name in systems:
        assert getattr(test, name) == compared["scores"][name]["bleu"]["score"]
    assert tuned.signature == compared["signatures"]["bleu"]
    assert (valid.sentences, valid.hypotheses) == (60, 240)
    assert valid.first <= valid.length_only <= valid.rescored
    reference = read_lines(DataBin.open(data_bin).reference("valid", "tgt"))
    first = parse_generated(read_lines(decoded.valid))
    words = [first[i].hypotheses[0].decoded for i in range(60)]
    moses = DataBin.open(data_bin).words("tgt")
    text = [moses.detokenize(line) for line in words]
    assert valid.first == pytest.approx(sacrebleu.corpus_bleu(text, [reference]).score)


def test_what_was_interrupted_goes_on_to_the_same_bytes(
    tmp_path: Path,
    decoded: Decoded,
    data_bin: Path,
    teacher: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = rescore(settings(decoded, data_bin, teacher, tmp_path / "whole.out", max_tokens=400))
    config = settings(decoded, data_bin, teacher, tmp_path / "parts.out", max_tokens=400)
    log_probs_of, asked = asking.log_probs_of, []

    def interrupted(batch, *rest):
        asked.append(len(batch))
        if len(asked) == 9:
            raise KeyboardInterrupt
        return log_probs_of(batch, *rest)

    monkeypatch.setattr(asking, "log_probs_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rescore(config)
    assert not (tmp_path / "parts.out").exists()
    assert rescore(config).output.read_bytes() == whole.output.read_bytes()
    monkeypatch.setattr(asking, "log_probs_of", lambda *args: asked.append(args))
    assert sum(asked[:8]) + sum(asked[9:]) == 244
    before = len(asked)
    more = settings(
        decoded, data_bin, teacher, tmp_path / "parts.out", max_tokens=400, weight=2, force=True
    )
    rescore(more)
    assert len(asked) == before  # other weights need no teacher
    assert {path.name for path in tmp_path.iterdir()} == {
        *("whole.out", "whole.out.scores.npz", "parts.out", "parts.out.scores.npz")
    }


def test_teachers_of_both_kinds_with_weights_as_a_command(
    tmp_path: Path, decoded: Decoded, data_bin: Path, teacher: Path
) -> None:
    """The student itself, as teacher of all the weight, says what its P- lines say."""
    options = [*BERTKD, "rescore", "--nbest", decoded.test, "--data-bin", data_bin, *EXACT]
    options += ["--path", f"{decoded.student}:{teacher}", "--weights", "1,1e-9"]
    options += ["--weight", 1, "--output", tmp_path / "new.out", "--json", tmp_path / "new.json"]
    done = run_command(options)
    report = json.loads((tmp_path / "new.json").read_text())
    assert (report["report"], report["length_only"]) == ("bertkd rescore", None)
    assert report["mix"] == {"weight": 1.0, "length_bonus": 0.0, "lenpen": 0.0}
    assert [one["kind"] for one in report["teachers"]] == ["translation", "cmlm"]
    assert report["teachers"][0]["sha256"] == hash_file(decoded.student)
    assert re.search(
        r"^rescored, weight 1, length bonus 0, lenpen 0 +\d+\.\d\d$", done.stdout, re.M
    )
    for one in parse_generated(read_lines(tmp_path / "new.out")).values():
        for hypothesis in one.hypotheses:
            numbers = [float(word) for word in hypothesis.positional.split()]
            rounded = 1e-4 * len(numbers)
            assert float(hypothesis.score) == pytest.approx(2 * sum(numbers), abs=rounded)


def test_a_data_bin_without_text_is_rescored_and_not_scored(
    tmp_path: Path, decoded: Decoded, data_bin: Path, teacher: Path
) -> None:
    bare = Path(shutil.copytree(data_bin, tmp_path / "bare"))
    shutil.rmtree(bare / "references")
    done = rescore(settings(decoded, bare, teacher, tmp_path / "new.out"))
    (split,) = done.splits
    assert (split.first, split.rescored, done.signature) == (None, None, None)
    assert split.changed > 0
