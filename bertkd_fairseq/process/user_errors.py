"""Which exceptions of Python, torch, omegaconf and fairseq are a user's mistake, and what to tell the user then.

Everything is read off the traceback's text: fairseq starts a process per GPU, and of what one of them raised only that
text arrives.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from bertkd_fairseq.errors import BertKDError, must_be
from bertkd_fairseq.files import cannot_write

_FRAME = re.compile(r'^  File "(.+?)", line \d+, in (.+)\n(?: {4}(.*)\n)?', re.MULTILINE)
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?:: (.*))?\Z", re.MULTILINE | re.DOTALL)
_FAIRSEQ = re.compile(r"(?:^|/)fairseq(?:_cli)?/")

_BETWEEN = re.compile(
    r"\n(?:During handling of the above|The above exception was the direct cause).*\Z", re.DOTALL
)
_SYSTEM_ERROR = re.compile(
    r"\[Errno (?P<number>\d+)\] (?P<reason>.*?)(?:: '(?P<file>.*?)'(?: -> '.*')?)?\Z"
)
_RUST_ERROR = re.compile(r"(?P<reason>.*) \(os error (?P<number>\d+)\)\Z")

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@dataclass(frozen=True)
class Raised:
    """The end of a traceback: where the last exception was raised, its class by its full name, its message."""

    file: str
    function: str
    source: str
    kind: str
    message: str

    @classmethod
    def read_all(cls, text: str) -> list[Raised]:
        """Return every exception in Python's text of a traceback; the last one is what was raised in the end."""
        parts = text.split("Traceback (most recent call last):\n")[1:]
        found = [cls._read(_BETWEEN.sub("", part).rstrip()) for part in parts]
        return [raised for raised in found if raised is not None]

    @classmethod
    def _read(cls, text: str) -> Raised | None:
        frames = list(_FRAME.finditer(text))
        end = _EXCEPTION.search(text, frames[-1].end() if frames else 0)
        if end is None:
            return None
        file, function, source = frames[-1].groups("") if frames else ("", "", "")
        return cls(file, function, source, end[1], end[2] or "")

    @property
    def by_fairseq(self) -> bool:
        """Whether fairseq raised it on purpose, with words for a reader."""
        on_purpose = self.kind == "AssertionError" or self.source.startswith("raise ")
        return bool(_FAIRSEQ.search(self.file) and on_purpose and self.message)


def as_user_error(error: BaseException) -> BertKDError | None:
    """Return the mistake of the user that ``error`` stands for; None if it may as well be a bug."""
    if isinstance(error, BertKDError):
        return error
    if type(error).__name__ == "ProcessRaisedException":
        text = str(error)
    else:
        text = "".join(traceback.format_exception(error))
    chain = Raised.read_all(text)
    # What fails after the disk has failed is its consequence.
    from_disk = [message for raised in chain if (message := _disk_message(raised))]
    message = from_disk[0] if from_disk else _message(chain[-1]) if chain else None
    return None if message is None else BertKDError(message)


def _message(raised: Raised) -> str | None:
    if raised.kind.startswith("bertkd_fairseq."):
        return raised.message
    if found := _SYSTEM_ERROR.match(raised.message):
        file, reason = found["file"], found["reason"]
        hint = "Check the path and its permissions."
        return f"`{file}` can't be read or written: {reason}. {hint}" if file else None
    described = f"{raised.file}|{raised.function}|{raised.kind}: {raised.message}"
    for pattern, tell in _RULES:
        if found := re.search(pattern, described, re.DOTALL):
            return tell(found)
    return raised.message if raised.by_fairseq else None


def _disk_message(raised: Raised) -> str | None:
    """Return what to say where a disk takes no more; Python and libraries in Rust tell that in different words."""
    found = _SYSTEM_ERROR.match(raised.message) or _RUST_ERROR.match(raised.message)
    if not found or int(found["number"]) not in _DISK:
        return None
    file = found.groupdict().get("file") or "output"
    return str(cannot_write(file, OSError(int(found["number"]), found["reason"])))


def _fill(text: str) -> Callable[[re.Match[str]], str]:
    return lambda found: text.format(*found.groups())


def _too_long(found: re.Match[str]) -> str:
    index, size, limit = (re.sub(r"np\.int\d+\((\d+)\)", r"\1", part) for part in found.groups())
    hint = (
        "Two numbers are source and target. Raise --max-source-positions and --max-target-positions "
        "(--max-positions for a teacher), or leave such pairs out with --skip-invalid-size-inputs-valid-test."
    )
    return must_be(f"length of sentence {index}", f"at most {limit}", size, hint)


def _other_than_before(found: re.Match[str]) -> str:
    hint = "Use the same one, another --save-dir, or --reset-optimizer."
    return must_be(f"--{found[1].lower()}", f"{found[2]} as in the checkpoint", found[3], hint)


def _more_valid_sets(found: re.Match[str]) -> str:
    names = sorted({name.partition(".")[0] for name in re.findall(r"'([^']+)'", found[1])})
    return (
        f"`--valid-subset` must name every validation set of the data-bin, but leaves out {', '.join(names)}. "
        "Name them, join them with --combine-valid-subsets, or add --ignore-unused-valid-subsets."
    )


def _option(found: re.Match[str]) -> str:
    reason, key = found[1], found[2]
    return f"`{key}` can't be set: {reason}. Correct it in the YAML or on the command line."


_RULES: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (
        r": Model file not found: (.*)",
        _fill("there is no checkpoint at {}. Name one that fairseq-train wrote."),
    ),
    (
        r": Dataset not found: (\S+) \((.*)\)",
        _fill(
            "`{1}` must have a split {0!r} in the languages asked for, but has none. "
            "Choose another split, or make it with `bertkd prepare`."
        ),
    ),
    (
        r": Could not infer language pair",
        _fill(
            "the data folder must be a data-bin, but holds no files <split>.<source>-<target>.*. "
            "Make one with `bertkd prepare`."
        ),
    ),
    (r": Size of sample #(\d+) is invalid \(=(.*)\) since max_positions=(.*), skip", _too_long),
    (
        r": Sentences lengths should not exceed max_tokens=(\d+)",
        _fill(
            "`--max-tokens` must be at least the length of the longest sentence, but is {} instead. Raise it."
        ),
    ),
    (
        r"fairseq/data/data_utils\.py\|batch_by_size\|IndexError: ",
        _fill(
            "the split must hold a sentence within --max-tokens and the model's positions, but all are longer. "
            "Raise --max-tokens, or the positions."
        ),
    ),
    (r": Valid paths (\[.*\]) will be ignored", _more_valid_sets),
    (
        r": Cannot load model parameters from checkpoint (.*);",
        _fill(
            "`{}` must be a checkpoint of the model that is to be trained, but has other parameters. "
            "Use another --save-dir or --restore-file, or the options that it was trained with."
        ),
    ),
    (
        r": Error\(s\) in loading state_dict for .*?size mismatch for (\S+): .*?torch\.Size\((.*?)\).*?"
        r"torch\.Size\((.*?)\)",
        _fill(
            "`{0}` of the checkpoint must have the shape {2} that data-bin and options ask for, but has {1} instead. "
            "Use the data-bin and the options that it was trained with."
        ),
    ),
    (
        r": Error\(s\) in loading state_dict for .*?(Missing|Unexpected) key\(s\) in state_dict: \"(.*?)\"",
        _fill(
            "the checkpoint must have the parameters that the options ask for, but does not ({0}: {1}). "
            "Use the options that it was trained with."
        ),
    ),
    (r": (Optimizer|Criterion) does not match; .* (\w+) vs (\w+)\Z", _other_than_before),
    (
        r": --share-all-embeddings requires a joined dictionary",
        _fill(
            "source and target must have one joined dictionary for --share-all-embeddings, but have two. "
            "Use a data-bin of `bertkd prepare`, or leave the option out."
        ),
    ),
    (
        r"fairseq/options\.py\|parse_args_and_arch\|KeyError: None",
        _fill(
            "`--task` must be named, but is missing. "
            "Give --task translation_bert_kd for a student, --task bert_cmlm for a teacher."
        ),
    ),
    (
        r"fairseq_cli/train\.py\|validate\|KeyError: '(.*)'",
        _fill(
            "`--best-checkpoint-metric` must be something that validation logs, but is {} instead. "
            "Choose loss, or bleu with --eval-bleu."
        ),
    ),
    (
        r"fairseq/checkpoint_utils\.py\|get_maybe_sharded_checkpoint_filename\|AttributeError: 'NoneType'",
        _fill("`--path` must name a checkpoint, but is missing."),
    ),
    (
        r": Could not infer task type from \{'_name': '(.*?)'",
        _fill("`task._name` must be a task of fairseq or of the plugin, but is {} instead."),
    ),
    (
        r"fairseq/data/indexed_dataset\.py\|\w+\|\w+: ",
        _fill(
            "the data-bin must hold whole binarized text, but a file of this split is cut off, damaged or can't be "
            "read. Run `bertkd prepare` again."
        ),
    ),
    (
        r": Torch not compiled with CUDA enabled|: No CUDA GPUs are available|: Found no NVIDIA driver"
        r"|'NoneType' object has no attribute 'xla_device'",
        _fill(
            "fairseq's `--fp16` and `--bf16` must have a GPU, but torch can use none here. Leave them out."
        ),
    ),
    (
        r"\|UnicodeDecodeError: 'utf-8' codec can't decode byte (0x..)",
        _fill(
            "the text must be UTF-8, but holds byte {} instead. "
            "Convert it, for instance with `iconv -t UTF-8`."
        ),
    ),
    (r"\|omegaconf\.errors\.\w+: (.*?)\n\s*full_key: (\S+)", _option),
]
"""Patterns of `file|function|class: message`, and what to say instead."""
