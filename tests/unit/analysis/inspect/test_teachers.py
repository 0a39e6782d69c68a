"""How the teachers of a mixture do."""

from __future__ import annotations

import math

from bertkd_fairseq.analysis.inspect.teachers import COLUMNS, teacher_rows, teacher_summaries
from bertkd_fairseq.analysis.tables import aligned
from bertkd_fairseq.dump.scores import SCORES, Score, TeacherScore, to_records


def test_a_line_for_each_and_one_for_all() -> None:
    facts = {"kind": "cmlm", "arch": "bert_cmlm_teacher", "sha256": "0123456789", "weight": 0.75}
    first = TeacherScore(Score(4, 2, 0, 4 * math.log(1 / 3)), Score(4, 4, 0, 0.0))
    second = TeacherScore(Score(4, 1, 2, 2 * math.log(1 / 5)), Score(4, 4, 0, 0.0))
    meta = {
        "teachers": [facts, {**facts, "kind": "translation", "arch": "lstm", "weight": 0.25}],
        SCORES: to_records([first, second, first]),
    }
    assert aligned([COLUMNS, *teacher_rows(teacher_summaries(meta))]) == [
        "                                 weight  right, %  with EOS  perplexity  with EOS  no probability",
        "cmlm bert_cmlm_teacher 01234567    0.75      50.0      75.0        3.00      1.73               0",
        "translation lstm 01234567          0.25      25.0      62.5        5.00      1.71               2",
        "together                           1.00      50.0      75.0        3.00      1.73               0",
    ]


def test_one_teacher_has_no_table() -> None:
    assert teacher_summaries({"teacher": {"sha256": "0"}}) == []
