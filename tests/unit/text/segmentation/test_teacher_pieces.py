"""Which pieces of a tokenizer write a surface, against the tokenizer's own way with whole lines."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.segmentation.schemes import Surface
from bertkd_fairseq.text.segmentation.teacher_pieces import TeacherTokenizer

TEXT = [
    "unhappy dogs sleep, happy cats don't",
    "the happiest dog is unhappier than a cat",
    "größer Häuser",
]
BERT = {
    "cls_token": "[CLS]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
    "mask_token": "[MASK]",
}
ROBERTA = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        TEXT,
        trainers.WordPieceTrainer(
            vocab_size=70, special_tokens=list(BERT.values()), show_progress=False
        ),
    )
    return tokenizer


def byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(ROBERTA.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=80, special_tokens=list(ROBERTA.values()), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


KINDS = {
    "wordpiece": (wordpiece, BERT),
    "byte_bpe": (byte_bpe, ROBERTA),
    "unigram": (unigram, ROBERTA),
}


def teacher(kind: str) -> tuple[TeacherTokenizer, PreTrainedTokenizerFast]:
    make, names = KINDS[kind]
    fast = PreTrainedTokenizerFast(tokenizer_object=make(), **names)
    return TeacherTokenizer(fast), fast


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", ["unhappy", "dogs", "größer", "Häuser", "don't", "q", "cat,"])
def test_a_word_has_the_pieces_that_the_tokenizer_gives_it_in_a_line(kind: str, word: str) -> None:
    pieces, fast = teacher(kind)
    # The second word of a line: in front of it is a space, whatever the tokenizer does to the first.
    line = fast.backend_tokenizer.encode(f"the {word}", add_special_tokens=False)
    wanted = [i for i, (start, _) in zip(line.ids, line.offsets, strict=True) if start >= 3]
    if len(wanted) > 1 and fast.convert_ids_to_tokens(wanted[0]) in ("\u2581", "\u0120"):
        wanted = wanted[1:]
    assert pieces.pieces(Surface(word, True)) == tuple(i for i in wanted if i != fast.unk_token_id)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_of_a_word_has_pieces_of_its_own(kind: str) -> None:
    pieces, fast = teacher(kind)
    names = fast.convert_ids_to_tokens(list(pieces.pieces(Surface("s", False))))
    assert names == {"wordpiece": ["##s"], "byte_bpe": ["s"], "unigram": ["s"]}[kind]
    first = fast.convert_ids_to_tokens(list(pieces.pieces(Surface("d", True))))
    assert first == {"wordpiece": ["d"], "byte_bpe": ["d"], "unigram": ["d"]}[kind]


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_what_the_tokenizer_does_not_know_has_no_piece(kind: str) -> None:
    pieces, _ = teacher(kind)
    assert pieces.pieces(Surface("日", True)) == pieces.pieces(Surface("\udcc3", False)) == ()


def test_bytes_that_are_no_character_have_pieces_of_byte_level_bpe() -> None:
    pieces, fast = teacher("byte_bpe")
    assert fast.convert_ids_to_tokens(list(pieces.pieces(Surface("\udcc3", False)))) == ["\u00c3"]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_the_tokenizers(kind: str) -> None:
    pieces, fast = teacher(kind)
    names = fast.convert_ids_to_tokens(list(pieces.specials))
    assert names == list(KINDS[kind][1].values())


def test_a_tokenizer_without_a_mask_teaches_nothing() -> None:
    names = {
        name: token for name, token in ROBERTA.items() if name not in ("mask_token", "pad_token")
    }
    with pytest.raises(DataError) as error:
        TeacherTokenizer(PreTrainedTokenizerFast(tokenizer_object=byte_bpe(), **names))
    assert str(error.value) == (
        "the teacher's tokenizer must have cls_token, pad_token, sep_token, unk_token, mask_token, but lacks "
        "pad_token, mask_token. Use a masked language model with the tokenizer that came with it."
    )
