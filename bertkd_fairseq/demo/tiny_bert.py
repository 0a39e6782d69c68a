"""A tiny BERT and its WordPiece tokenizer, both untrained or trained on a text of a few pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertForMaskedLM

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def random_bert(vocab_size: int, *, hidden: int, layers: int, seed: int) -> BertForMaskedLM:
    """Return an untrained ``BertForMaskedLM`` for a vocabulary that begins with :data:`SPECIAL_TOKENS`."""
    from bertkd_fairseq.compat import hide_broken_torchaudio

    hide_broken_torchaudio()
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


def train_tokenizer(lines: list[str], vocab_size: int) -> Tokenizer:
    """Return a cased WordPiece tokenizer of at most ``vocab_size`` pieces, learnt from ``lines``."""
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
    # Chance numbers pieces of equal frequency, and where vocab_size cuts among them, decides which of them get in:
    # only with room for every piece are two runs the same.
    pieces = [*SPECIAL_TOKENS, *sorted(tokenizer.get_vocab().keys() - {*SPECIAL_TOKENS})]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer.model = models.WordPiece(vocabulary, unk_token="[UNK]")
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer
