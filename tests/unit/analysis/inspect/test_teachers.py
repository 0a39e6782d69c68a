"""A line for each teacher of a mixture."""

from __future__ import annotations

import math

from bertkd_fairseq.analysis.inspect.teachers import teacher_lines, teacher_summary
from bertkd_fairseq.dump.scores import SCORES, Score, TeacherScore, to_records


def test_a_line_for_each_and_one_for_all() -> None:
    facts = {"kind": "cmlm", "arch": "bert_cmlm_teacher", "sha256": "0123456789", "weight": 0.75}
    first = TeacherScore(Score(4, 2, 0, 4 * math.log(1 / 3)), Score(4, 4, 0, 0.0))
    second = TeacherScore(Score(4, 1, 2, 2 * math.log(1 / 5)), Score(4, 4, 0, 0.0))
    meta = {
        "teachers": [facts, {**facts, "kind": "translation", "arch": "lstm", "weight": 0.25}],
        SCORES: to_records([first, second, first]),
    }
    assert teacher_lines(teacher_summary(meta)) == [
        "teacher 1, weight 0.75, cmlm bert_cmlm_teacher 01234567: accuracy 50.0% (with EOS 75.0%), perplexity 3.00 "
        "(with EOS 1.73)",
        "teacher 2, weight 0.25, translation lstm 01234567: accuracy 25.0% (with EOS 62.5%), perplexity 5.00 (with "
        "EOS 1.71), 2 tokens without a probability apart",
        "teachers together: accuracy 50.0% (with EOS 75.0%), perplexity 3.00 (with EOS 1.73)",
    ]


def test_one_teacher_has_no_lines() -> None:
    assert teacher_summary({"teacher": {"sha256": "0"}}) == {}
