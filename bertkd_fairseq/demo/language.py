"""A generated miniature language pair: what the demo and the tests translate.

The pair is made so that the future of the target matters. Nouns have two or three target synonyms
of different gender; the article, the adjective and even the verb before a noun agree with the
gender of the synonym that is still to come, and the source only hints at which one that will be. A
style choice that the source often leaves open shows at the start, in the verb and at the end of
the target. A left-to-right student has to predict these early; a teacher that sees the rest of
the target knows them. Verbs, adjectives and adverbs have two forms each that mean the same and that
nothing else shows, as every language has: there a soft target says more than the one word that
happens to be in the text.

The languages are fixed, only the sentences depend on the seed. Source order is subject, place,
object, verb; target order is subject, verb, object, place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bertkd_fairseq.errors import ConfigurationError, must_be

SOURCE_LANG = "src"
TARGET_LANG = "tgt"
GENDERS = "aoi"
#: How often the source decides which synonym the target uses; otherwise it is drawn at random.
HINT_PROBABILITY = 0.7
#: How often the source shows that the target is in formal style.
STYLE_PROBABILITY = 0.5

#: How often a verb, adjective or adverb takes the less usual of its two forms.
VARIANT_PROBABILITY = 0.35

_ARTICLES = {"der": "l", "ein": "un", "dies": "est"}
_PREPOSITIONS = {"in": "nel", "auf": "sur", "bei": "pres"}


@dataclass(frozen=True)
class Lexicon:
    """The words of both languages, most frequent first; target stems lack the gender's vowel."""

    nouns: tuple[tuple[str, dict[str, str]], ...]  # source word, {gender: target stem}
    adjectives: tuple[tuple[str, str], ...]
    verbs: tuple[tuple[str, str], ...]
    adverbs: tuple[tuple[str, str], ...]


def lexicon() -> Lexicon:
    """Return the fixed lexicon of the pair, about 80 source and 220 target word types."""
    rng = random.Random("bertkd miniature lexicon")
    used: set[str] = set()
    nouns = []
    for _ in range(36):
        genders = sorted(rng.sample(GENDERS, rng.choice((2, 2, 3))))
        nouns.append((_source_word(rng, used), {g: _word(rng, used) for g in genders}))

    def pairs(count: int) -> tuple[tuple[str, str], ...]:
        return tuple((_source_word(rng, used), _word(rng, used)) for _ in range(count))

    return Lexicon(tuple(nouns), pairs(12), pairs(14), pairs(6))


def _word(rng: random.Random, used: set[str]) -> str:
    """Return a new stem of two or three syllables that ends in a consonant."""
    while True:
        syllables = [rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(2)]
        word = "".join(syllables) + rng.choice(("", rng.choice("klmr"))) + rng.choice("dfgnst")
        if word not in used:
            used.add(word)
            return word


def _source_word(rng: random.Random, used: set[str]) -> str:
    """Return a new source word; some have an umlaut, a capital or a hyphen."""
    word = _word(rng, used)
    kind = rng.random()
    if kind < 0.15:
        return word.translate(str.maketrans("aou", "äöü"))
    if kind < 0.30:
        return word.capitalize()
    if kind < 0.38:
        return f"{_word(rng, used)}-{word}"
    return word


class Speaker:
    """Draws sentence pairs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lexicon = lexicon()

    def pair(self) -> tuple[str, str]:
        """Return one source and one target sentence, 4 to 15 words each."""
        rng = self.rng
        verb = self._index(self.lexicon.verbs)
        verb_source, verb_target = self.lexicon.verbs[verb]
        formal = rng.random() < 0.4
        subject_source, subject_target, gender = self._noun_phrase(verb)
        object_source: list[str] = []
        object_target: list[str] = []
        if rng.random() < 0.75:
            # The verb agrees with its object, which the target only names after it.
            object_source, object_target, gender = self._noun_phrase(verb)
        place_source, place_target = self._place(verb)
        adverb_source, adverb_target = self._adverb()
        shown = ["bitte"] if formal and rng.random() < STYLE_PROBABILITY else []
        source = [*adverb_source, *shown, *subject_source, *place_source, *object_source]
        target = [*(["ser"] if formal else []), *subject_target]
        target += [self._form(verb_target) + gender + ("ne" if formal else "")]
        target += [*object_target, *place_target, *adverb_target, *(["voi"] if formal else [])]
        return " ".join([*source, verb_source, "."]), " ".join([*target, "."])

    def _index(self, words: Sequence[object]) -> int:
        """Draw an index with a Zipf-like preference for the first words."""
        weights = [1.0 / (i + 3) for i in range(len(words))]
        return self.rng.choices(range(len(words)), weights)[0]

    def _noun_phrase(self, governor: int) -> tuple[list[str], list[str], str]:
        """Return source words, target words and the gender; ``governor`` hints at the synonym."""
        rng = self.rng
        noun = self._index(self.lexicon.nouns)
        noun_source, synonyms = self.lexicon.nouns[noun]
        genders = list(synonyms)
        hinted = genders[(noun + governor) % len(genders)]
        gender = hinted if rng.random() < HINT_PROBABILITY else rng.choice(genders)
        article = rng.choice(list(_ARTICLES))
        source, target = [article], [_ARTICLES[article] + gender]
        if rng.random() < 0.4:
            adjective, stem = self.lexicon.adjectives[self._index(self.lexicon.adjectives)]
            source.append(adjective)
            target.append(self._form(stem) + gender)
        return [*source, noun_source], [*target, synonyms[gender] + gender], gender

    def _place(self, governor: int) -> tuple[list[str], list[str]]:
        if self.rng.random() > 0.3:
            return [], []
        preposition = self.rng.choice(list(_PREPOSITIONS))
        source, target, _ = self._noun_phrase(governor + 1)
        return [preposition, *source], [_PREPOSITIONS[preposition], *target]

    def _adverb(self) -> tuple[list[str], list[str]]:
        if self.rng.random() > 0.3:
            return [], []
        source, target = self.lexicon.adverbs[self._index(self.lexicon.adverbs)]
        return [source], [self._form(target)]

    def _form(self, stem: str) -> str:
        """Draw one of the two forms of a stem: as it is, or spelt backwards."""
        return stem[::-1] if self.rng.random() < VARIANT_PROBABILITY else stem


def write_corpus(
    folder: str | Path, *, num_train: int, num_valid: int, num_test: int, seed: int = 1
) -> dict[str, Path]:
    """Write ``{train,valid,test}.{src,tgt}``, plain UTF-8 text, no source sentence twice.

    Returns the path of each file by its name, ``"train.src"`` for instance; ``folder / "train"`` is
    the prefix that ``bertkd prepare`` takes.

    :raises ConfigurationError: if a number is not positive.
    """
    counts = {"train": num_train, "valid": num_valid, "test": num_test}
    for split, count in counts.items():
        if count < 1:
            raise ConfigurationError(must_be(f"num_{split}", "at least 1", count))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    speaker = Speaker(random.Random(f"bertkd miniature corpus {seed}"))
    seen: set[str] = set()
    files: dict[str, Path] = {}
    for split, count in counts.items():
        pairs: list[tuple[str, str]] = []
        while len(pairs) < count:
            pair = speaker.pair()
            if pair[0] not in seen:
                seen.add(pair[0])
                pairs.append(pair)
        for side, lang in enumerate((SOURCE_LANG, TARGET_LANG)):
            path = folder / f"{split}.{lang}"
            path.write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8")
            files[path.name] = path
    return files
