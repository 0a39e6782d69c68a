"""What the demo starts from: text of the miniature language pair, and a tiny BERT that knows both languages.

``python -m bertkd_fairseq.demo.miniature --destdir DIR`` writes both.
"""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Iterable
from pathlib import Path

from bertkd_fairseq.demo.language import SOURCE_LANG, TARGET_LANG, Speaker, write_corpus
from bertkd_fairseq.demo.tiny_bert import random_bert, train_tokenizer
from bertkd_fairseq.errors import ConfigurationError, must_be
from bertkd_fairseq.precision import AUTO, choose

CHECKPOINT = "pretraining.pt"


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
    tokenizer = train_tokenizer(lines, vocab_size)
    model = random_bert(tokenizer.get_vocab_size(), hidden=hidden, layers=layers, seed=seed)
    if steps:
        speaker = Speaker(random.Random(f"bertkd miniature pretraining {seed}"))
        texts = tokenizer.encode_batch([speaker.pair() for _ in range(pretraining_pairs)])
        rows = [(text.ids, text.type_ids) for text in texts]
        from bertkd_fairseq.demo.pretraining import Pretraining

        training = Pretraining(model, rows, steps=steps, seed=seed, precision=precision)
        training.run(Path(dest) / CHECKPOINT)
    from transformers.models.bert import BertTokenizerFast  # type: ignore[attr-defined]

    model.save_pretrained(dest)
    BertTokenizerFast(tokenizer_object=tokenizer, do_lower_case=False).save_pretrained(dest)
    return Path(dest)


def main() -> None:
    """Write ``DIR/corpus`` and ``DIR/bert``: ``python -m bertkd_fairseq.demo.miniature --destdir DIR``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--destdir", required=True, type=Path)
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
        args.destdir / "corpus", num_train=train, num_valid=valid, num_test=test, seed=args.seed
    )
    train_tiny_bert(
        [files[f"train.{lang}"] for lang in (SOURCE_LANG, TARGET_LANG)],
        args.destdir / "bert",
        vocab_size=args.vocab_size,
        hidden=args.hidden,
        steps=args.steps,
        seed=args.seed,
        precision=choose(args.precision),
    )


if __name__ == "__main__":
    main()
