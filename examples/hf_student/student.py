"""A student of Hugging Face: Marian's encoder-decoder, trained by ``Seq2SeqTrainer`` from the same store.

::

    python examples/hf_student/student.py data-bin --teacher-topk topk --save-dir hf

Trains, translates the test split, and writes ``hf/generate-test.txt``, which ``bertkd compare`` reads. fairseq isn't
imported: data-bin and store are read with numpy. README.md beside this file says more.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bertkd_fairseq.compat import hide_broken_torchaudio
from bertkd_fairseq.data.store_match import mismatches
from bertkd_fairseq.errors import BertKDError, DataError, StoreError, must_be, raise_all, report
from bertkd_fairseq.files import whole_file
from bertkd_fairseq.loss import ALPHAS, RENORMALIZE, BertKDLoss, bert_kd_loss, option_problems
from bertkd_fairseq.settings import (
    add_arguments,
    from_arguments,
    in_options,
    named,
    range_problems,
    setting,
)
from bertkd_fairseq.teacher_rows import TeacherRows
from bertkd_fairseq.text.data_bin import DataBin
from bertkd_fairseq.text.pairs import BOS, EOS, PAD, Pairs
from bertkd_fairseq.text.raw import RawText, undo_subwords
from bertkd_fairseq.text.segmentation.schemes import detect_scheme
from bertkd_fairseq.topk_store import TopKStore

hide_broken_torchaudio()

from transformers import (  # noqa: E402
    AutoTokenizer,
    MarianConfig,
    MarianMTModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

IGNORED = -100  # what transformers puts in place of padding in labels
VOCABULARY = "vocab.json"  # {symbol: id}, the name that Marian has for it


@dataclass(frozen=True, kw_only=True)
class StudentConfig:
    """The settings; the sizes are those of the paper, ``transformer_iwslt_de_en``."""

    data_bin: Path = setting("folder of binarized text", positional=True, metavar="DATA_BIN")
    teacher_topk: Path = setting("the teacher's store of the training split", metavar="DIR")
    save_dir: Path = setting("folder for checkpoints and translations", metavar="DIR")
    start: Path | None = setting(
        "start from this student of the same vocabulary, and not from random weights",
        default=None,
        metavar="DIR",
    )
    kd_alpha: float = setting(f"weight of the teacher's soft targets, {ALPHAS}", default=0.5)
    kd_temperature: float = setting("temperature of the teacher's softmax", default=10.0)
    label_smoothing: float = setting("label smoothing of the other term", default=0.1)
    layers: int = setting("layers of encoder and of decoder", default=6, at_least=1)
    embed_dim: int = setting("width", default=512, at_least=2)
    ffn_embed_dim: int = setting("width inside the feed-forward layers", default=1024, at_least=1)
    attention_heads: int = setting("attention heads", default=4, at_least=1)
    dropout: float = setting("dropout", default=0.3)
    lr: float = setting("highest learning rate", default=1e-3)
    warmup_updates: int = setting("updates until it is reached", default=8000)
    max_update: int = setting("updates; 0: only translate", default=100_000, at_least=0)
    batch_size: int = setting("sentences in a batch", default=200, at_least=1)
    seed: int = setting("seed of weights, dropout and order", default=1)
    gen_subset: str = setting("split to translate", default="test")
    beam: int = setting("width of the beam", default=5, at_least=1)
    lenpen: float = setting("power of the length that scores are divided by", default=0.6)


def problems(config: StudentConfig) -> list[str]:
    """Return what is wrong with the settings."""
    names = {"alpha": "kd_alpha", "temperature": "kd_temperature"}
    found = range_problems(config) + option_problems(
        alpha=config.kd_alpha,
        temperature=config.kd_temperature,
        label_smoothing=config.label_smoothing,
        tail=RENORMALIZE,
        names={name: named(config, names.get(name, name)) for name in (*names, "label_smoothing")},
    )
    if config.embed_dim % config.attention_heads:
        wanted = f"a multiple of the {config.attention_heads} attention heads"
        found.append(must_be(named(config, "embed_dim"), wanted, config.embed_dim))
    if config.max_update == 0 and config.start is None:
        found.append(
            must_be(named(config, "start"), "a student, where there are no updates", "missing")
        )
    if config.max_update and config.save_dir.exists() and any(config.save_dir.iterdir()):
        wanted = "a new or empty folder"
        found.append(must_be(named(config, "save_dir"), wanted, f"{config.save_dir}, which isn't"))
    return found


def opened(config: StudentConfig) -> tuple[Pairs, TopKStore]:
    """Return the training split and its store.

    :raises StoreError: if they don't belong to each other.
    """
    store = TopKStore.open(config.teacher_topk)
    langs, split = (store.meta["source_lang"], store.meta["target_lang"]), store.meta["split"]
    pairs = Pairs(config.data_bin, split, langs)
    raise_all(mismatches(store, str(config.data_bin), split, langs, pairs), StoreError)
    return pairs, store


def make_model(config: StudentConfig, pairs: Pairs) -> MarianMTModel:
    """Return the student, random or that of ``config.start``.

    :raises DataError: if that one's vocabulary isn't the dictionary of the data-bin.
    """
    source, target = pairs.src_dict.symbols, pairs.tgt_dict.symbols
    if config.start is not None:
        check_vocabulary(named(config, "start"), config.start, target)
        return MarianMTModel.from_pretrained(config.start)
    sizes: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": config.layers, f"{side}_ffn_dim": config.ffn_embed_dim}
        sizes |= {f"{side}_attention_heads": config.attention_heads}
    torch.manual_seed(config.seed)
    return MarianMTModel(
        MarianConfig(
            **sizes,
            vocab_size=len(source),
            decoder_vocab_size=len(target),
            share_encoder_decoder_embeddings=list(source) == list(target),
            d_model=config.embed_dim,
            dropout=config.dropout,
            activation_function="relu",
            # As fairseq begins; Marian's own 0.02 without scaling is for models that are loaded.
            scale_embedding=True,
            init_std=config.embed_dim**-0.5,
            bos_token_id=BOS,
            pad_token_id=PAD,
            eos_token_id=EOS,
            forced_eos_token_id=EOS,
            decoder_start_token_id=EOS,  # fairseq's decoder reads EOS first
        )
    )


def check_vocabulary(name: str, folder: Path, symbols: Sequence[str]) -> None:
    """:raises DataError: unless a model's vocabulary is ``symbols``; ``name``: the setting that gives the model."""
    try:
        file = folder / VOCABULARY
        if file.is_file():
            ids = json.loads(file.read_text("utf-8"))
        else:
            ids = AutoTokenizer.from_pretrained(folder).get_vocab()
    except (OSError, ValueError) as error:
        raise DataError(f"the vocabulary of `{name}` ({folder}) can't be read: {error}") from error
    theirs = sorted(ids, key=ids.get)
    if theirs == list(symbols):
        return
    both = enumerate(zip(theirs, symbols, strict=False))
    other = next((f", number {i} is {a!r} and not {b!r}" for i, (a, b) in both if a != b), "")
    raise DataError(
        must_be(
            name,
            f"an encoder-decoder with the {len(symbols)} symbols of the store as its vocabulary",
            f"one with {len(theirs)} pieces{other}",
            "Leave it out: the student then starts from random weights. A model with another vocabulary can be the "
            "teacher (docs/dump.md).",
        )
    )


class Batches:
    """What makes batches of numbered sentences, with the teacher's rows beside the labels."""

    def __init__(self, pairs: Pairs, store: TopKStore) -> None:
        self.pairs, self.store = pairs, store

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": int(index), "input_ids": self.pairs.src[index]}

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Return input of the model, ``labels`` (N, T) with EOS last, and the rows of :class:`TeacherRows`."""
        numbers = [item["id"] for item in items]
        labels = padded([self.pairs.tgt[i] for i in numbers], IGNORED)
        first = labels.new_full((len(labels), 1), EOS)
        before = torch.cat([first, labels[:, :-1]], dim=1)
        rows = self.store.sentences(torch.tensor(numbers).numpy())
        teacher = TeacherRows.at(labels.ne(IGNORED), rows)
        return teacher.to_sample(
            {
                **source_input([self.pairs.src[i] for i in numbers]),
                "decoder_input_ids": before.masked_fill(labels.eq(IGNORED), PAD),
                "labels": labels,
            }
        )


def source_input(sentences: Sequence[Any]) -> dict[str, Tensor]:
    """Return what the encoder reads: ``input_ids`` and ``attention_mask``, (N, S) each, padded on the right."""
    input_ids = padded(sentences, PAD)
    return {"input_ids": input_ids, "attention_mask": input_ids.ne(PAD).long()}


def padded(sentences: Sequence[Any], value: int) -> Tensor:
    """Return sentences of ids as one tensor (N, L) int64, padded on the right."""
    tensors = [torch.from_numpy(ids.astype("int64")) for ids in sentences]
    return pad_sequence(tensors, batch_first=True, padding_value=value)


class DistillingTrainer(Seq2SeqTrainer):
    """Minimises :func:`bert_kd_loss` a token; all else is transformers' own, its count of tokens over batches too."""

    def __init__(self, settings: StudentConfig, **kwargs: Any) -> None:
        super().__init__(compute_loss_func=self.distil, **kwargs)
        self.settings = settings
        self.rows: TeacherRows | None = None

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As in transformers, which would hand the teacher's rows to the model."""
        self.rows = TeacherRows.from_sample(inputs)
        rest = {name: value for name, value in inputs.items() if not name.startswith("teacher_")}
        return super().compute_loss(model, rest, *args, **kwargs)

    def distil(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """Return the mean over target tokens, of all batches of an update."""
        assert self.rows is not None
        tokens = labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return distillation(outputs.logits, labels, self.rows, self.settings).loss / tokens


def distillation(
    logits: Tensor, labels: Tensor, rows: TeacherRows, config: StudentConfig
) -> BertKDLoss:
    """Return the paper's loss of logits (N, T, V) against labels (N, T) and the teacher's rows, summed."""
    rows = rows.map(lambda part: part.flatten(0, 1))
    return bert_kd_loss(
        logits.flatten(0, 1),
        labels.flatten(),
        rows.ids,
        rows.logprobs,
        alpha=config.kd_alpha,
        temperature=config.kd_temperature,
        label_smoothing=config.label_smoothing,
        ignore_index=IGNORED,
    )


def make_trainer(
    config: StudentConfig, model: MarianMTModel, batches: Batches
) -> DistillingTrainer:
    """Return the trainer, with fairseq's optimisation: Adam, warm-up, inverse square root."""
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(config.save_dir),
        max_steps=config.max_update,
        per_device_train_batch_size=config.batch_size,
        train_sampling_strategy="group_by_length",
        learning_rate=config.lr,
        warmup_steps=config.warmup_updates,
        lr_scheduler_type="inverse_sqrt",
        adam_beta2=0.98,
        max_grad_norm=0.0,
        logging_steps=max(1, min(100, config.max_update // 10)),
        save_strategy="no",
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        seed=config.seed,
    )
    return DistillingTrainer(
        config, model=model, args=arguments, train_dataset=batches, data_collator=batches.collate
    )


def translations(model: MarianMTModel, pairs: Pairs, config: StudentConfig) -> Iterator[str]:
    """Yield fairseq-generate's T-, H- and D- lines, sentence by sentence: D- has the text that the symbols write."""
    model.eval()
    text = decoder(config, pairs.tgt_dict.symbols)
    for start in range(0, len(pairs), config.batch_size):
        numbers = range(start, min(start + config.batch_size, len(pairs)))
        inputs = source_input([pairs.src[i] for i in numbers])
        found = model.generate(
            **{name: value.to(model.device) for name, value in inputs.items()},
            num_beams=config.beam,
            length_penalty=config.lenpen,
            max_new_tokens=int(1.2 * inputs["input_ids"].size(1)) + 10,
            suppress_tokens=[BOS, PAD],
            return_dict_in_generate=True,
            output_scores=True,
        )
        scores = found.sequences_scores.tolist() if config.beam > 1 else [0.0] * len(numbers)
        for i, ids, score in zip(numbers, found.sequences[:, 1:].tolist(), scores, strict=True):
            symbols = ids[: ids.index(EOS)] if EOS in ids else ids
            line, bits = pairs.tgt_dict.text(symbols), f"{score / math.log(2):.4f}"
            yield f"T-{i}\t{pairs.tgt_dict.text(pairs.tgt[i][:-1])}\n"
            yield f"H-{i}\t{bits}\t{line}\n"
            yield f"D-{i}\t{bits}\t{text(line.split())}\n"


def decoder(config: StudentConfig, symbols: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """Return what makes text of symbols, or words where the data-bin isn't one of ``bertkd prepare``."""
    try:
        return RawText(DataBin.open(config.data_bin)).text
    except DataError:
        scheme = detect_scheme(symbols)
        return lambda line: undo_subwords(" ".join(line), scheme)


def train_and_translate(config: StudentConfig) -> Path:
    """Train a student, save it, translate a split, and return the file of translations."""
    raise_all(problems(config))
    pairs, store = opened(config)
    langs = (store.meta["source_lang"], store.meta["target_lang"])
    test = Pairs(config.data_bin, config.gen_subset, langs)
    model = make_model(config, pairs)
    if config.max_update:
        make_trainer(config, model, Batches(pairs, store)).train()
        model.save_pretrained(config.save_dir)
        ids = {symbol: i for i, symbol in enumerate(pairs.tgt_dict.symbols)}
        (config.save_dir / VOCABULARY).write_text(json.dumps(ids, ensure_ascii=False), "utf-8")
    file = config.save_dir / f"generate-{config.gen_subset}.txt"
    with torch.inference_mode():
        text = "".join(translations(model, test, config))
    config.save_dir.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as part:
        part.write_text(text, "utf-8")
    return file


def main() -> int:
    """Read the options, and return the exit code: 2 where a mistake is told."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_arguments(parser, StudentConfig)
    try:
        print(train_and_translate(from_arguments(StudentConfig, parser.parse_args())))
    except BertKDError as error:
        return report(type(error)(in_options(str(error), StudentConfig)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
