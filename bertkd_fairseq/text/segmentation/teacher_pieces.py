"""Find the pieces of a pretrained model's tokenizer that write some text, at the start of a word or within one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.segmentation.schemes import (
    BYTE_SPACE,
    WORD_MARK,
    Surface,
    to_byte_alphabet,
)
from bertkd_fairseq.vocabulary import Pieces, SpecialIds

# For each of fairseq's special symbols, and then for the mask: names in transformers of tokens that may stand for it.
_SPECIALS = (
    ("cls_token", "bos_token"),
    ("pad_token",),
    ("sep_token", "eos_token"),
    ("unk_token",),
    ("mask_token",),
)


class TeacherTokenizer:
    """A fast tokenizer of transformers that returns the pieces of single symbols.

    The tokenizer's configuration shows whether it is WordPiece, byte-level BPE, or a BPE or unigram model that marks
    the start of words with ``▁``.

    :raises DataError: if it has no token for one of fairseq's special symbols or for the mask.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.vocabulary: dict[str, int] = tokenizer.get_vocab()
        self.specials = _special_ids(tokenizer)
        self._backend: Any = tokenizer.backend_tokenizer
        self._model: Any = self._backend.model
        kinds = _types(json.loads(self._backend.to_str()).get("pre_tokenizer"))
        self._byte_level = "ByteLevel" in kinds
        self._word_mark = "Metaspace" in kinds
        self._within: Any = (
            None if self._byte_level or self._word_mark else _within_words(self._model)
        )

    def pieces(self, surface: Surface) -> Pieces:
        """Return the ids of the pieces that write ``surface``, without the unknown piece; empty if there are none."""
        if self._byte_level:
            found = self._model.tokenize(to_byte_alphabet(self._with_space(surface, " ")))
        else:
            try:
                surface = surface._replace(text=self._normalized(surface.text))
            except UnicodeEncodeError:  # the symbol has only a part of a character's bytes
                return ()
            found = self._marked(surface) if self._word_mark else self._words(surface)
        # A piece that is only the space before the word says nothing about the word.
        if len(found) > 1 and found[0].value in (WORD_MARK, BYTE_SPACE):
            found = found[1:]
        return tuple(token.id for token in found if token.id != self.specials.unk)

    def _with_space(self, surface: Surface, space: str) -> str:
        return (space if surface.initial else "") + surface.text

    def _normalized(self, text: str) -> str:
        text.encode()
        normalizer = self._backend.normalizer
        return str(normalizer.normalize_str(text)).strip() if normalizer is not None else text

    def _marked(self, surface: Surface) -> Sequence[Any]:
        text = surface.text.removeprefix(WORD_MARK).replace(" ", WORD_MARK)
        written = self._with_space(surface._replace(text=text), WORD_MARK)
        return self._model.tokenize(written) if written else ()  # type: ignore[no-any-return]

    def _words(self, surface: Surface) -> Sequence[Any]:
        pre_tokenizer = self._backend.pre_tokenizer
        text = surface.text
        words = [w for w, _ in pre_tokenizer.pre_tokenize_str(text)] if pre_tokenizer else [text]
        found: list[Any] = []
        for place, word in enumerate(filter(None, words)):
            model = self._model if surface.initial or place else self._within
            found += model.tokenize(word)
        return found


def _types(part: Any) -> set[str]:
    """Return the names of a pre-tokenizer's types, including those inside a sequence."""
    if not isinstance(part, dict):
        return set()
    within = (_types(inner) for inner in part.get("pretokenizers", ()))
    return {str(part.get("type"))}.union(*within)


def _within_words(model: Any) -> Any:
    """Return the model for the rest of a word. For WordPiece, it has only the continuations, without their mark."""
    from tokenizers.models import WordPiece

    if not isinstance(model, WordPiece):
        return model
    from tokenizers import Tokenizer

    prefix, unknown = model.continuing_subword_prefix, model.unk_token
    vocabulary: dict[str, int] = Tokenizer(model).get_vocab()
    continuations = {
        piece.removeprefix(prefix): index
        for piece, index in vocabulary.items()
        if piece.startswith(prefix) and piece != prefix
    }
    continuations[unknown] = vocabulary[unknown]
    return WordPiece(continuations, unk_token=unknown, continuing_subword_prefix="")


def _special_ids(tokenizer: Any) -> SpecialIds:
    ids, missing = [], []
    for names in _SPECIALS:
        found = (getattr(tokenizer, f"{name}_id", None) for name in names)
        index = next((index for index in found if index is not None), None)
        ids.append(index if index is not None else -1)
        if index is None:
            missing.append(names[0])
    if missing:
        raise DataError(
            f"the teacher's tokenizer must have {', '.join(names[0] for names in _SPECIALS)}, "
            f"but lacks {', '.join(missing)}. Use a masked language model with the tokenizer that came with it."
        )
    return SpecialIds(*ids)
