"""How scores split a target language: by which tokeniser of sacreBLEU, and into words or characters."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import must_be
from bertkd_fairseq.text.languages import has_spaces, sacrebleu_tokenizer

log = logging.getLogger(__name__)

_PACKAGES = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}


@dataclass(frozen=True)
class Target:
    """How the target language is split for the scores.

    ``tokenizer``: the name of sacreBLEU's tokeniser. ``lengths``: what lengths are counted in: ``Moses words``,
    ``words`` (of text that was already tokenised) or ``characters``. ``notes``: what readers of the scores have to
    know.
    """

    lang: str
    tokenizer: str
    lengths: str = "Moses words"
    notes: tuple[str, ...] = ()

    @property
    def has_words(self) -> bool:
        """Whether the text has words, separated by spaces, before BLEU's tokeniser splits it."""
        return self.lengths != "characters"

    @property
    def is_english(self) -> bool:
        """Whether the language is English, whose words can be stemmed."""
        return self.lang in ("en", "eng")

    @property
    def ngrams(self) -> str:
        """What the n-grams of the table of repeated n-grams consist of: words, or BLEU's tokens if there are none."""
        if self.has_words:
            return "words"
        return "characters" if self.tokenizer == "char" else f"{self.tokenizer} tokens"


def tokenizer_problems(name: str, tokenizer: str | None) -> list[str]:
    """Return a message if ``tokenizer``, given for the setting ``name``, is unknown or can't be used here."""
    from sacrebleu.metrics import BLEU

    if tokenizer is None:
        return []
    if tokenizer not in BLEU.TOKENIZERS:
        return [must_be(name, f"one of {', '.join(BLEU.TOKENIZERS)}", repr(tokenizer))]
    missing = _missing(tokenizer)
    return (
        [must_be(name, "a tokeniser that can be used here", tokenizer, missing)] if missing else []
    )


def target_of(lang: str, tokenizer: str | None, tokenized: bool) -> Target:
    """Return how ``lang`` is split for the scores.

    If that language's own tokeniser isn't installed, it is split by ``char``, and a note says so.

    :param tokenizer: the tokeniser to use, which :func:`tokenizer_problems` has passed. None: that of the language.
    :param tokenized: the text was already tokenised, so it has spaces between words, whatever its language.
    """
    notes = []
    chosen = tokenizer or sacrebleu_tokenizer(lang)
    if not tokenizer and (missing := _missing(chosen)):
        notes.append(
            f"BLEU counts characters, because sacreBLEU's {chosen} isn't installed. {missing}"
        )
        log.warning("%s", notes[0])
        chosen = "char"
    if tokenized:
        return Target(lang, chosen, "words", tuple(notes))
    if has_spaces(lang):
        return Target(lang, chosen, notes=tuple(notes))
    notes.append(
        f"There is no tok BLEU, and lengths are in characters, because {lang} has no spaces between words."
    )
    return Target(lang, chosen, "characters", tuple(notes))


def _missing(tokenizer: str) -> str:
    """Return what has to be done before sacreBLEU can use ``tokenizer``; empty if nothing has to."""
    from sacrebleu.metrics import BLEU

    try:
        BLEU(tokenize=tokenizer)
    except ImportError:
        return "It needs sentencepiece: pip install sentencepiece"
    except RuntimeError as error:  # a package that it needs is missing or damaged
        package = _PACKAGES.get(tokenizer)
        return f"To install it: pip install '{package}'" if package else str(error)
    except (OSError, SystemExit) as error:
        from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
        from sacrebleu.utils import SACREBLEU_DIR

        url = SPM_MODELS[tokenizer]["url"]
        file = Path(SACREBLEU_DIR, "models", Path(url).name)
        return f"Its model can't be downloaded ({error}). Download {url} elsewhere and save it as {file}"
    return ""
