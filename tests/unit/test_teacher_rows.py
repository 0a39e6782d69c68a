"""The teacher's rows in a batch of fairseq."""

from __future__ import annotations

import torch

from bertkd_fairseq.loss import bert_kd_loss
from bertkd_fairseq.teacher_rows import TeacherRows

TARGET = torch.tensor([[5, 6, 2], [7, 2, 1]])


def test_what_is_put_into_a_batch_is_found_there() -> None:
    sample = {"target": TARGET}
    assert TeacherRows.from_sample(sample) is None
    rows = TeacherRows(torch.ones(2, 3, 4).long(), torch.zeros(2, 3, 4), torch.zeros(2, 3))
    batch = rows.to_sample(sample)
    assert TeacherRows.from_sample(batch) == rows
    # The names that other trainers may rely on; the batch itself stays as it was.
    assert [*batch] == ["target", "teacher_ids", "teacher_logprobs", "teacher_log_tail"]
    assert [*sample] == ["target"]
    with_gold = rows._replace(gold_logprob=torch.zeros(2, 3))
    assert TeacherRows.from_sample(with_gold.to_sample(sample)) == with_gold
    assert rows.map(torch.neg).gold_logprob is None


def test_rows_without_a_teacher_leave_the_loss_to_the_labels() -> None:
    logits = torch.randn(6, 11)
    for k in (0, 1, 3):
        rows = TeacherRows.without_teacher(TARGET, k).map(lambda tensor: tensor.flatten(0, 1))
        assert [tuple(tensor.shape) for tensor in rows] == [(6, k), (6, k), (6,), (6,)]
        result = bert_kd_loss(
            logits, TARGET.flatten(), rows.ids, rows.logprobs,
            alpha=0.5, temperature=10.0, label_smoothing=0.0, ignore_index=1,
        )  # fmt: skip
        assert int(result.teacher_tokens) == 0
        torch.testing.assert_close(result.loss, result.nll_loss)
