"""A generated miniature language pair and a tiny BERT for it: what the demo and the tests need.

The pair is made so that the future of the target matters. Nouns have two or three target synonyms
of different gender; the article, the adjective and even the verb before a noun agree with the
gender of the synonym that is still to come, and the source only hints at which one that will be. A
style choice that the source often leaves open shows at the start, in the verb and at the end of
the target. A left-to-right student has to guess these early; a teacher that sees the rest of the
target knows them. Verbs, adjectives and adverbs have two forms each that mean the same and that
nothing else shows, as every language has: there a soft target says more than the one word that
happens to be in the text.

The languages are fixed, only the sentences depend on the seed. Source order is subject, place,
object, verb; target order is subject, verb, object, place.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.precision import AUTO, choose

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertForMaskedLM

log = logging.getLogger(__name__)

SOURCE_LANG = "src"
TARGET_LANG = "tgt"
GENDERS = "aoi"
CHECKPOINT = "pretraining.pt"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
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


class _Speaker:
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
    speaker = _Speaker(random.Random(f"bertkd miniature corpus {seed}"))
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


def train_tiny_bert(
    corpus_files: Iterable[str | Path],
    dest: str | Path,
    *,
    vocab_size: int = 400,
    hidden: int = 64,
    layers: int = 2,
    steps: int = 0,
    seed: int = 1,
    precision: str = "fp32",
    pretraining_pairs: int = 20_000,
) -> Path:
    """Make a cased WordPiece tokenizer and a ``BertForMaskedLM``, both saved in ``dest``.

    The method starts from a BERT that knows both languages from far more text than there is to
    train the student on. What stands for that text here: ``pretraining_pairs`` other sentences of
    the languages, each with its translation beside it, on which the model is pretrained for
    ``steps`` steps of masked language modelling in ``precision``; ``steps=0`` leaves it random.
    An interrupted pretraining continues from its checkpoint in ``dest``.

    :raises ConfigurationError: if ``hidden`` is no multiple of 32.
    """
    if hidden < 32 or hidden % 32:
        raise ConfigurationError(must_be("hidden", "a positive multiple of 32", hidden))
    lines = [
        line for file in corpus_files for line in Path(file).read_text("utf-8").splitlines() if line
    ]
    tokenizer = _train_tokenizer(lines, vocab_size)
    model = random_bert(tokenizer.get_vocab_size(), hidden=hidden, layers=layers, seed=seed)
    if steps:
        speaker = _Speaker(random.Random(f"bertkd miniature pretraining {seed}"))
        texts = tokenizer.encode_batch([speaker.pair() for _ in range(pretraining_pairs)])
        rows = [(text.ids, text.type_ids) for text in texts]
        from bertkd_fairseq.demo.pretraining import Pretraining

        training = Pretraining(model, rows, steps=steps, seed=seed, precision=precision)
        training.run(Path(dest) / CHECKPOINT)
    from transformers.models.bert import BertTokenizerFast  # type: ignore[attr-defined]

    model.save_pretrained(dest)
    BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False).save_pretrained(dest)
    return Path(dest)


def random_bert(vocab_size: int, *, hidden: int, layers: int, seed: int) -> BertForMaskedLM:
    """Return an untrained ``BertForMaskedLM`` for a vocabulary that begins with :data:`SPECIAL_TOKENS`."""
    from bertkd_fairseq import compat

    compat.apply()
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        intermediate_size=4 * hidden,
        max_position_embeddings=128,
        # BERT's own 0.02 suits widths of 768; so narrow a model would learn nothing for a long time.
        initializer_range=hidden**-0.5,
        pad_token_id=SPECIAL_TOKENS.index("[PAD]"),
    )
    return BertForMaskedLM(config)


def _train_tokenizer(lines: list[str], vocab_size: int) -> Tokenizer:
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def main() -> None:
    """Write ``DEST/corpus`` and ``DEST/bert``: ``python -m bertkd_fairseq.miniature --dest DEST``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dest", required=True, type=Path)
    parser.add_argument("--pairs", default="5000,200,1000", help="in train, valid and test")
    parser.add_argument("--steps", type=int, default=300, help="of masked language modelling")
    parser.add_argument("--vocab-size", type=int, default=600)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--precision", default=AUTO)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(format="%(asctime)s | %(levelname)s | %(name)s | %(message)s", level="INFO")
    train, valid, test = (int(count) for count in args.pairs.split(","))
    files = write_corpus(
        args.dest / "corpus", num_train=train, num_valid=valid, num_test=test, seed=args.seed
    )
    train_tiny_bert(
        [files[f"train.{lang}"] for lang in (SOURCE_LANG, TARGET_LANG)],
        args.dest / "bert",
        vocab_size=args.vocab_size,
        hidden=args.hidden,
        steps=args.steps,
        seed=args.seed,
        precision=choose(args.precision),
    )


if __name__ == "__main__":
    main()
