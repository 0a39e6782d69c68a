"""The table of arms: what it says, and what is wrong with it, in one message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bertkd_fairseq.errors import ConfigurationError
from tests.unit.ladder.conftest import LADDER

Read = Callable[..., object]
TEACHERS = """
teachers:
  cmlm: {TEACHER_UPDATES: 3}
  plains: {students: [plain.seed1, plain.seed3]}
  both: {of: [cmlm, plains]}
arms:
  plain: {}
  kd: {teacher: both, KD_ALPHA: 0.5, options: --x 1, LAYERS: 3, seeds: [4]}
"""


def test_arms_have_what_all_have_and_their_own(ladder: Read) -> None:
    found = ladder("options: --all\nbaseline: plain" + TEACHERS)
    plain, kd = found.arms.values()
    common = {"UPDATES": "20", "AVERAGE": "2", "VALIDATE_EVERY": "5"}
    assert plain.settings == {**common, "KD_ALPHA": "0", "STUDENT_EXTRA": "--all"}
    assert kd.settings == {
        **common,
        "KD_ALPHA": "0.5",
        "LAYERS": "3",
        "STUDENT_EXTRA": "--all --x 1",
    }
    assert (kd.corpus, kd.teacher, kd.against, kd.seeds) == ("text", "both", "plain", (4,))
    assert [str(student) for student in found.students()] == [
        "plain.seed1",
        "plain.seed2",
        "kd.seed4",
    ]


def test_a_teacher_of_others_is_their_models_in_order(ladder: Read) -> None:
    found = ladder(TEACHERS)
    trained, students = found.members("both")
    assert (trained, [str(s) for s in students]) == (["cmlm"], ["plain.seed1", "plain.seed3"])


TAUGHT = """
corpora: {text: {}, more: {script: a.sh, students: [plain.seed1], teachers: [past], parts: [train1], base: text}}
teachers: {cmlm: {}, past: {begins_with: cmlm, TEACHER_UPDATES: 3}}
arms: {plain: {}, kd: {corpus: more, teacher: past, KD_ALPHA: 0.5}}
"""


def test_a_corpus_is_taught_by_the_teachers_of_its_base(ladder: Read) -> None:
    text, more = ladder(TAUGHT, SETTINGS_ALONE).corpora.values()
    assert (text.taught_on, more.taught_on, more.teachers) == ("text", "text", ("past",))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("teachers: [past], ", ""),
        ("teachers: [past], ", "teachers: [cmlm], "),
        ("past: {begins_with: cmlm, ", "past: {"),
        ("cmlm: {}", "cmlm: {TEACHER_UPDATES: 4}"),
    ],
)
def test_fingerprint_is_of_the_teachers_of_a_corpus_and_of_how_they_begin(
    ladder: Read, before: str, after: str
) -> None:
    assert before in TAUGHT
    one, other = (
        ladder(TAUGHT, SETTINGS_ALONE),
        ladder(TAUGHT.replace(before, after), SETTINGS_ALONE),
    )
    assert one.fingerprint("kd") != other.fingerprint("kd")
    assert one.fingerprint("plain") == other.fingerprint("plain")


def test_fingerprint_without_teachers_of_a_corpus_is_that_of_older_rows(ladder: Read) -> None:
    assert ladder(TEACHERS).fingerprint("plain") == "543ac1aa"
    assert ladder(TEACHERS).fingerprint("kd") == "63e4c3fe"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            ", base: text",
            "",
            "`corpora.more` has teachers, so it must have a base that they are trained on.",
        ),
        (
            "base: text",
            "base: more",
            "`corpora.more.base` must be one of text, but is more instead.",
        ),
        (
            "teachers: [past]",
            "teachers: [plain]",
            "`corpora.more.teachers` must be one of cmlm, past, but is plain instead.",
        ),
        (
            "begins_with: cmlm, TEACHER_UPDATES: 3",
            "begins_with: cmlm, of: [cmlm]",
            "`teachers.past` must have begins_with only if it is trained, without students and of.\n"
            "`corpora.more.teachers` must be one of cmlm, but is past instead.",
        ),
        (
            "begins_with: cmlm",
            "begins_with: bert",
            "`teachers.past.begins_with` must be one of cmlm, past, but is bert instead.",
        ),
    ],
)
def test_a_teacher_that_nothing_can_be_made_of(
    ladder: Read, tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert before in TAUGHT
    with pytest.raises(ConfigurationError) as error:
        ladder(TAUGHT.replace(before, after), SETTINGS_ALONE)
    told = str(error.value).replace(f"{tmp_path}/table.yaml: ", "").splitlines()
    told = [line.split(". ", 1)[1] for line in told[1:]] if len(told) > 1 else told
    assert told == message.splitlines()


def test_teachers_that_begin_with_each_other(ladder: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"These need each other: .*teacher past"):
        ladder(TAUGHT.replace("cmlm: {}", "cmlm: {begins_with: past}"), SETTINGS_ALONE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LAYERS: 3", "LAYERS: 4"),
        ("--x 1", "--x 2"),
        ("TEACHER_UPDATES: 3", "TEACHER_UPDATES: 4"),
        ("plain.seed3", "plain.seed2"),
        ("plain: {}", "plain: {DIM: 64}"),
    ],
)
def test_fingerprint_is_of_all_that_an_arm_depends_on(
    ladder: Read, before: str, after: str
) -> None:
    assert before in TEACHERS
    changed = TEACHERS.replace(before, after)
    assert ladder(TEACHERS).fingerprint("kd") != ladder(changed).fingerprint("kd")


def test_fingerprint_is_not_of_names_places_and_seeds(ladder: Read) -> None:
    one = ladder(TEACHERS)
    text = TEACHERS.replace("cmlm", "renamed").replace("[4]", "[4, 5]").replace("kd:", "kd2:")
    other = ladder(
        text.replace("arms:", "corpora: {other: {DATA: $ELSEWHERE}}\narms:"), SETTINGS_ALONE
    )
    assert one.fingerprint("kd") == other.fingerprint("kd2")
    assert one.fingerprint("kd") != one.fingerprint("plain")


SETTINGS_ALONE = "settings: {UPDATES: 20, AVERAGE: 2, VALIDATE_EVERY: 5}\nseeds: [1, 2]\n"


def test_all_mistakes_are_told_at_once(ladder: Read, tmp_path: Path) -> None:
    text = """
color: red
settings: {UPDATES: none, VALIDATE_EVERY: 5, NAME: x, LAYERS: true}
seeds: [1, 1]
corpora: {text: {PREPARE_EXTRA: "", color: red}}
teachers:
  cmlm: {LAYERS: 2}
  of: {students: [plain, other.seed1], of: [nobody]}
arms:
  plain: {KD_ALFA: 0.1, against: who, AVERAGE: 2}
  a b: {teacher: bert, corpus: prose, AVERAGE: 1, KD_ALPHA: 1, seeds: 3}
  kd: {KD_ALPHA: 0.5, TEACHER_UPDATES: 3, BERT: x}
"""
    with pytest.raises(ConfigurationError) as error:
        ladder(text, before="")
    problems = str(error.value).replace(f"{tmp_path}/table.yaml: ", "").splitlines()
    assert problems[0] == "25 problems:"
    told = [problem.split(". ", 1)[1] for problem in problems[1:]]
    table = "baseline, seeds, settings, options, corpora, teachers, arms"
    corpus = "script, students, teachers, parts, base"
    whole = "a whole number from"
    assert (
        told
        == [
            f"the table must hold {table}, but holds `color`.",
            "`settings.NAME` is no setting that the table can give. It is the ladder's own.",
            "`settings.LAYERS` must be text or a number, but is True instead.",
            f"corpora.text must hold {corpus} or a setting of the recipe, but holds `color`.",
            "`teachers.cmlm.LAYERS` is no setting of a teacher or of its store.",
            "`teachers.of.students` must be of the form ARM.seedN, but is plain instead.",
            "`arms.plain.KD_ALFA` is no setting that the table can give. Do you mean KD_ALPHA?",
            f"`arms.plain.UPDATES` must be {whole} 1 on, but is none instead.",
            "`arms.plain.seeds` must be different numbers from 1 on, but is [1, 1] instead.",
            "`arms.a b` must be a name of letters, digits and . _ + -, without .seedN, but is 'a b' instead.",
            f"`arms.a b.UPDATES` must be {whole} 1 on, but is none instead.",
            f"`arms.a b.AVERAGE` must be {whole} 2 on, but is 1 instead.",
            "`arms.a b.seeds` must be a list of numbers, but is 3 instead.",
            "`arms.a b.seeds` must be different numbers from 1 on, but is [] instead.",
            "`arms.kd.TEACHER_UPDATES` must stand in a teacher that the arm names.",
            "`arms.kd.BERT` must stand in a corpus that the arm names.",
            "`arms.kd` has KD_ALPHA, so it must name a teacher.",
            f"`arms.kd.UPDATES` must be {whole} 1 on, but is none instead.",
            f"`arms.kd.AVERAGE` must be {whole} 2 on, but is missing instead.",
            "`arms.kd.seeds` must be different numbers from 1 on, but is [1, 1] instead.",
            "`arms.plain.against` must be one of plain, a b, kd, but is who instead.",
            "`arms.a b.corpus` must be one of text, but is prose instead.",
            "`arms.a b.teacher` must be one of cmlm, of, but is bert instead.",
            "`teachers.of.students` must be one of plain, a b, kd, but is other instead.",
            "`teachers.of.of` must be one of cmlm, of, but is nobody instead.",
        ][: len(told)]
        + told[25:]
    )


def test_circle_is_refused(ladder: Read) -> None:
    with pytest.raises(ConfigurationError, match=r"These need each other: .*arm kd"):
        ladder("teachers: {t: {students: [kd.seed1]}}\narms: {kd: {teacher: t}}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: {a: {}, a: {}}", "must be YAML, each name once: "),
        ("arms: [", "must be YAML, each name once: "),
        ("- a", "must be a table of names, but is list instead."),
    ],
)
def test_what_is_no_table(ladder: Read, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ladder(text, before="")
    assert message in str(error.value)


def test_variable_must_be_set(arms: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "/x")
    assert arms.with_variables({"DATA": "$HERE/y"}) == {"DATA": "/x/y"}
    monkeypatch.delenv("HERE")
    with pytest.raises(
        ConfigurationError, match=r"^`DATA` is \$HERE/y, so that variable must be set\.$"
    ):
        arms.with_variables({"DATA": "$HERE/y"})


@pytest.mark.parametrize("file", ["arms.yaml", "schemes.yaml"])
def test_tables_that_are_kept(table: ModuleType, file: str) -> None:
    assert table.read(LADDER / file).arms
