"""What ``bertkd inspect`` prints, whole."""

from __future__ import annotations

from bertkd_fairseq.analysis.inspect.agreement import Agreement, TokenMeans
from bertkd_fairseq.analysis.inspect.calibration import Reliability, ReliabilityBin
from bertkd_fairseq.analysis.inspect.run import Entry, Inspection, StudentRuns, TokenEntries
from bertkd_fairseq.analysis.inspect.statistics import (
    DrawStatistics,
    MassPercentile,
    SoftTarget,
    TopKStatistics,
)
from bertkd_fairseq.analysis.inspect.text import format_inspection, format_sentence
from bertkd_fairseq.topk_store import StoreSummary

STORE = StoreSummary("bertkd-topk|fmt:1", 600, 10_307, 30.5)
EMPTY = ReliabilityBin(0, None, None)


def test_sections_of_a_store() -> None:
    statistics = TopKStatistics(
        tokens=10_307,
        tokens_without_teacher=7,
        accuracy=71.254,
        gold_in_top_k=90.5,
        eos_accuracy=99.5,
        mass_in_top_k=88,
        mass_percentiles=[MassPercentile(5, 40.1), MassPercentile(50, 99.9)],
        gold_rank_counts=[6900, 1880, 920],
        soft_targets=[SoftTarget(1.0, 0.8127, 0.5), SoftTarget(10.0, 0.21, 2.0)],
        calibration=Reliability(
            1.5, 72.123, [EMPTY, ReliabilityBin(1700, 40.5, 41), ReliabilityBin(8000, 95.5, 93.25)]
        ),
        eos_calibration=Reliability(0.25, 99.75, [EMPTY, EMPTY, ReliabilityBin(600, 99.75, 99.5)]),
    )
    means = TokenMeans(9700, 71.2, 80.04, 75, 2.5)
    nothing = TokenMeans(0, None, None, None, None)
    student = StudentRuns(["a.pt"], [Agreement(means, nothing, nothing, nothing, means)])
    found = Inspection(STORE, 2, True, statistics=statistics, students={"plain": student})
    assert format_inspection(found).splitlines() == [
        "Teacher store",
        "signature      bertkd-topk|fmt:1",
        "sentences      600",
        "tokens         10,307",
        "bytes a token  30.50",
        "verified       every byte",
        "",
        "Against the gold tokens, EOS apart",
        "all target tokens, EOS included              10,307",
        "those without a teacher, left out below           7",
        "gold token is the teacher's first            71.25%",
        "gold token is in the top 2                   90.50%",
        "EOS is the teacher's first where it is gold  99.50%",
        "probability in the top 2, mean               88.00%",
        "",
        "Rank of the gold token among the entries, EOS apart",
        "rank          tokens   share",
        "1              6,900  71.13%",
        "2              1,880  19.38%",
        "none of them     920   9.48%",
        "",
        "Probability in the top 2, EOS apart",
        "share of the tokens  probability up to",
        "5%                               40.1%",
        "50%                              99.9%",
        "",
        "Soft target, EOS apart",
        "temperature  weight of the top 1  entropy, nats",
        "1                          0.813          0.500",
        "10                         0.210          2.000",
        "",
        "Calibration of the prediction, EOS apart",
        "confidence      tokens  mean confidence  accuracy",
        "33.3 to 66.7%    1,700           40.50%    41.00%",
        "66.7 to 100.0%   8,000           95.50%    93.25%",
        "all              9,700           72.12%    71.25%",
        "expected calibration error: 1.50 points",
        "",
        "Calibration of the prediction, EOS alone",
        "confidence      tokens  mean confidence  accuracy",
        "66.7 to 100.0%     600           99.75%    99.50%",
        "all                600           99.75%    99.50%",
        "expected calibration error: 0.25 points",
        "",
        "Student plain",
        "where the reference is  tokens  right  as teacher  confidence  nll, bits",
        "the teacher's first     100.0%  71.2%       80.0%       75.0%       2.50",
        "another of its top 2      0.0%      -           -           -          -",
        "none of these             0.0%      -           -           -          -",
        "EOS                       0.0%      -           -           -          -",
        "all                     100.0%  71.2%       80.0%       75.0%       2.50",
        "",
        "Predicted correctly, EOS apart",
        "          right     the teacher is",
        "teacher  100.0%                   ",
        "plain     71.2%  28.8 points ahead",
    ]
    report = found.report()
    assert list(report) == [
        *("signature", "sentences", "tokens", "bytes_per_token"),
        *("k", "verified", "statistics", "students"),
    ]
    assert report["statistics"]["soft_targets"][1] == {
        "temperature": 10.0,
        "top_1_weight": 0.21,
        "entropy_nats": 2.0,
    }
    assert report["students"]["plain"]["runs"][0]["first"]["nll_bits"] == 2.5


def test_what_format_2_knows_more() -> None:
    nothing = Reliability(0, 0, [EMPTY])
    found = TopKStatistics(
        *(100, 0, 50.0, 75.0, 99.0, 88.0, [MassPercentile(50, 99.9)], [60, 20, 20], []),
        *(nothing, nothing, 2.5, 3, [0.25, None, 7.125]),
    )
    lines = format_inspection(Inspection(STORE, 2, False, statistics=found)).splitlines()
    start = lines.index("Against the gold tokens, EOS apart")
    assert lines[start + 6 : start + 15] == [
        "probability in the top 2, mean                       88.00%",
        "perplexity of the gold token                          2.500",
        "gold tokens without any probability, left out of it       3",
        "",
        "Rank of the gold token among the entries, EOS apart",
        "rank          tokens   share  bits, mean",
        "1                 60  60.00%        0.25",
        "2                 20  20.00%           -",
        "none of them      20  20.00%        7.12",
    ]


def test_sections_of_sampled_targets() -> None:
    draws = DrawStatistics(100, 0, 75, 60.004, [MassPercentile(50, 61.2)])
    found = Inspection(STORE, 12, False, statistics=draws)
    assert format_inspection(found).splitlines()[4:] == [
        "bytes a token  30.50",
        "",
        "Against the gold tokens, EOS apart",
        "all target tokens, EOS included             100",
        "those without a teacher, left out below       0",
        "gold token is among the draws            75.00%",
        "probability of the drawn symbols, mean   60.00%",
        "",
        "Probability of the drawn symbols, EOS apart",
        "share of the tokens  probability up to",
        "50%                              61.2%",
    ]


def test_a_sentence() -> None:
    tokens = [
        TokenEntries("lays", [Entry("laying", 0.41), Entry("lies", 0.2346)], 0.3554),
        TokenEntries(".", [], 1.0),
    ]
    assert format_sentence(tokens).splitlines() == [
        "lays | laying 0.410  lies 0.235 | rest 0.355",
        ".    | no teacher | rest 1.000",
    ]
