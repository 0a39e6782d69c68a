"""The teacher's answers in a file: whole, bound to what they depend on, never unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bertkd_fairseq.errors import ConfigurationError
from bertkd_fairseq.rescore.answers import Answers, read_answers

PLAN = {"split": "test", "hypotheses": "ab", "weights": (0.5, 0.5)}


def opened(path: Path, plan: dict = PLAN, force: bool = False) -> Answers:
    return Answers(path, plan, 3, force=force, force_name="RescoreConfig.force")


def test_what_was_saved_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.scores.npz"
    answers = opened(path)
    assert np.isnan(answers.logprobs).all() and not path.exists()
    answers.logprobs[1] = -0.5
    answers.save()
    for force in (False, True):
        again = opened(path, force=force)
        np.testing.assert_array_equal(again.logprobs, np.float32([np.nan, -0.5, np.nan]))
    assert [file.name for file in tmp_path.iterdir()] == ["x.scores.npz"]
    plan, logprobs = read_answers(path)
    assert (plan["split"], plan["weights"], logprobs.dtype) == ("test", [0.5, 0.5], np.float32)


def test_those_of_other_settings_are_refused_or_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.scores.npz"
    answers = opened(path)
    answers.logprobs[:] = -1
    answers.save()
    other = {**PLAN, "hypotheses": "cd"}
    with pytest.raises(ConfigurationError) as caught:
        opened(path, other)
    assert str(caught.value) == (
        f"{path} was made with other settings (hypotheses: ab before, cd now). Use the same settings, another "
        "output, or RescoreConfig.force to start over."
    )
    assert np.isnan(opened(path, other, force=True).logprobs).all()
    assert (read_answers(path)[1] == -1).all()  # until the first are saved


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("what", ["empty", "text", "cut off", "one bit", "another", "pickle"])
def test_another_file_is_refused_and_runs_nothing(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.scores.npz"
    if what == "another":
        np.savez(path, a=np.zeros(3))
    elif what == "pickle":
        np.savez(path, plan=np.array([Evil()], dtype=object), logprobs=np.zeros(3))
    else:
        opened(path).save()
        whole = path.read_bytes()
        turned = bytearray(whole)
        turned[whole.index(b"logprobs.npy") + 140] ^= 1  # in an answer
        spoiled = {"empty": b"", "text": b"text\n", "cut off": whole[: len(whole) // 2]}
        path.write_bytes(spoiled.get(what, bytes(turned)))
    with pytest.raises(ConfigurationError) as caught:
        opened(path)
    assert str(caught.value) == (
        f"`{path}` must be a file of a teacher's answers that `bertkd rescore` wrote, but is damaged or "
        "something else instead. Choose another output, or RescoreConfig.force to replace it."
    )
    assert np.isnan(opened(path, force=True).logprobs).all()
    assert not Path("evil").exists()
