"""Small tokenizers of every kind that CLIPs have, trained on a few sentences."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase

SENTENCES = (
    "a photo of a rose.", "the dog and the cat", "A type of flower, a photo of the ox-eye daisy.", "12 3 2012 BMW M3",
    "roses are red and photos, too..", "leaf blight (leaf spot).", "C++ is a name. etc.", "rose a photo of a cat dog",
    "of a photo of a kind of a kind of a", "a name of a photo of a name of a kind of a name", "of of of of of of of a",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 - ' , . ( ) +",
) * 5  # fmt: skip
# "gemma" and "siglip2" have no space before the first word, "prefixed" has one; "merged" joins the stop to a word and
# "crossing" words to each other; "siglip" is a SentencePiece file, "xlmr" and "mt5" are unigrams, "roberta" is
# byte-level, "bert" has word pieces.
KINDS = ("gemma", "siglip2", "prefixed", "merged", "siglip", "xlmr", "mt5", "roberta", "bert")
MARKS = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def make(kind: str, **options) -> PreTrainedTokenizerBase:
    """A tokenizer of transformers; `options` are arguments of its class."""
    if kind in ("gemma", "siglip2", "prefixed", "merged", "crossing"):
        return _gemma(kind, **options)
    if kind == "roberta":
        names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        split = pre_tokenizers.ByteLevel(add_prefix_space=True)
        letters = {"initial_alphabet": split.alphabet()}
        trained = _trained(models.BPE(), trainers.BpeTrainer, 500, names, split, **letters)
        return transformers.RobertaTokenizer(vocab=trained["vocab"], merges=_pairs(trained), **options)
    if kind == "bert":
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        model = models.WordPiece(unk_token="[UNK]")
        trained = _trained(model, trainers.WordPieceTrainer, 200, names, pre_tokenizers.BertPreTokenizer())
        return transformers.BertTokenizer(vocab=trained["vocab"], **options)
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind == "xlmr" else ["<pad>", "</s>", "<unk>"]
    split = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trained = _trained(models.Unigram(), trainers.UnigramTrainer, 200, names, split, unk_token="<unk>")
    pieces = [tuple(piece) for piece in trained["vocab"]]
    if kind == "xlmr":
        return transformers.XLMRobertaTokenizer(vocab=pieces, **options)
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, **options)


def _gemma(kind: str, **options) -> PreTrainedTokenizerBase:
    """Byte pairs with ▁ for spaces and bytes for unknown letters."""
    split = {
        "merged": [pre_tokenizers.Split("▁", "merged_with_next")],
        "crossing": [],
    }.get(kind, [pre_tokenizers.Metaspace(prepend_scheme="never"), pre_tokenizers.Punctuation()])
    names = MARKS + [f"<0x{i:02X}>" for i in range(256)]
    model = models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    spaces = normalizers.Replace(" ", "▁")
    trained = _trained(model, trainers.BpeTrainer, 600, names, pre_tokenizers.Sequence(split), spaces)
    made = transformers.Siglip2Tokenizer if kind == "siglip2" else transformers.GemmaTokenizer
    options = {"padding_side": "right", "add_bos_token": False, "add_eos_token": True, **options}
    tokenizer = made(vocab=trained["vocab"], merges=_pairs(trained), **options)
    if kind != "prefixed":
        return tokenizer
    inner = tokenizer.backend_tokenizer
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
    special = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, padding_side="right", **special)


def _trained(model, trainer, size: int, names: Sequence[str], split, normalizer=None, **options) -> dict:
    """The model's part of a trained tokenizer.json."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = split
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    options = {"vocab_size": size, "special_tokens": list(names), "show_progress": False, **options}
    tokenizer.train_from_iterator(SENTENCES, trainer(**options))
    return json.loads(tokenizer.to_str())["model"]


def _pairs(trained: dict) -> list[tuple[str, str]]:
    return [tuple(pair) for pair in trained["merges"]]


@functools.cache
def save(kind: str, folder: Path) -> Path:
    """The folder of a kind's tokenizer, below `folder`."""
    folder = folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "siglip":
        from miniatures import save_siglip_tokenizer

        save_siglip_tokenizer(folder)
    else:
        make(kind).save_pretrained(folder)
    return folder


def template(tokenizer: PreTrainedTokenizerBase, single: str) -> PreTrainedTokenizerBase:
    """The same with another pattern of special tokens around a text, as "[CLS] $A [SEP] [SEP]"."""
    marks = [(word, tokenizer.convert_tokens_to_ids(word)) for word in set(single.split()) - {"$A"}]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    return tokenizer
