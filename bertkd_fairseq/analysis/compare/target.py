"""How a target language is cut into what the scores count: sacreBLEU's tokeniser, and words or characters."""

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
    """What is known of the target language, and what a reader should know of it."""

    lang: str
    tokenizer: str  # sacreBLEU's
    lengths: str = (
        "Moses words"  # what lengths are counted in; else words, of tokenised text, or characters
    )
    notes: tuple[str, ...] = ()

    @property
    def has_words(self) -> bool:
        """Whether there are words before BLEU cuts them."""
        return self.lengths != "characters"

    @property
    def is_english(self) -> bool:
        """Whether words can be stemmed as English ones."""
        return self.lang in ("en", "eng")

    @property
    def ngrams(self) -> str:
        """What the n-grams that are looked for twice consist of: words, else what BLEU counts."""
        if self.has_words:
            return "words"
        return "characters" if self.tokenizer == "char" else f"{self.tokenizer} tokens"


def tokenizer_problems(name: str, tokenizer: str | None) -> list[str]:
    """Return what is wrong with ``tokenizer``, given for the setting ``name``: no such one, or it can't be had here."""
    from sacrebleu.metrics import BLEU

    if tokenizer is None:
        return []
    if tokenizer not in BLEU.TOKENIZERS:
        return [must_be(name, f"one of {', '.join(BLEU.TOKENIZERS)}", repr(tokenizer))]
    missing = _missing(tokenizer)
    return (
        [must_be(name, "a tokeniser that can be had here", tokenizer, missing)] if missing else []
    )


def target_of(lang: str, tokenizer: str | None, tokenized: bool) -> Target:
    """Return how ``lang`` is cut: by ``tokenizer``, which has no problems, or else by the one that is its own.

    Where that one isn't installed it is ``char``, and a note says so.

    :param tokenized: the text has spaces between words, whatever the language.
    """
    notes = []
    chosen = tokenizer or sacrebleu_tokenizer(lang)
    if not tokenizer and (missing := _missing(chosen)):
        notes.append(
            f"BLEU is by characters, because sacreBLEU's {chosen} isn't installed. {missing}"
        )
        log.warning("%s", notes[0])
        chosen = "char"
    if tokenized:
        return Target(lang, chosen, "words", tuple(notes))
    if has_spaces(lang):
        return Target(lang, chosen, notes=tuple(notes))
    notes.append(f"No tok BLEU, and lengths in characters: {lang} has no spaces between words.")
    return Target(lang, chosen, "characters", tuple(notes))


def _missing(tokenizer: str) -> str:
    """Return what to do before sacreBLEU can make ``tokenizer``; nothing if it can."""
    from sacrebleu.metrics import BLEU

    try:
        BLEU(tokenize=tokenizer)
    except ImportError:
        return "It needs sentencepiece: pip install sentencepiece"
    except RuntimeError as error:  # what it needs isn't there, or is damaged
        package = _PACKAGES.get(tokenizer)
        return f"To have it: pip install '{package}'" if package else str(error)
    except (OSError, SystemExit) as error:
        from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
        from sacrebleu.utils import SACREBLEU_DIR

        url = SPM_MODELS[tokenizer]["url"]
        file = Path(SACREBLEU_DIR, "models", Path(url).name)
        return (
            f"Its model can't be downloaded ({error}). Put what is at {url} there by hand: {file}"
        )
    return ""
