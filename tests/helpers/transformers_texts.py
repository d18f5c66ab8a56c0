"""Small text towers of transformers, for miniatures of open_clip: their configs and tokenizers."""

import string
from pathlib import Path

import transformers
from tokenizers import SentencePieceUnigramTokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn

BERT = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96,
    "max_position_embeddings": 80,
}  # fmt: skip
CONFIGS = {
    "bert": lambda vocabulary: transformers.BertConfig(vocab_size=vocabulary, **BERT),
    "roberta": lambda vocabulary: transformers.RobertaConfig(vocab_size=vocabulary, type_vocab_size=1, **BERT),
    "xlm-roberta": lambda vocabulary: transformers.XLMRobertaConfig(vocab_size=vocabulary, type_vocab_size=1, **BERT),
    "m2m_100": lambda vocabulary: transformers.M2M100Config(
        vocab_size=vocabulary, d_model=64, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=96,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=96, max_position_embeddings=80,
    ),
    "mt5": lambda vocabulary: transformers.MT5Config(
        vocab_size=vocabulary, d_model=64, d_kv=32, d_ff=96, num_layers=2, num_heads=2, num_decoder_layers=1,
        relative_attention_num_buckets=8, relative_attention_max_distance=12,
    ),
}  # fmt: skip
# Of families: open_clip's text_cfg.
TEXTS = {
    "bert": {
        "hf_model_name": "mini/bert", "hf_tokenizer_name": "mini/bert", "context_length": 48, "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
    },
    "xlm-roberta": {
        "hf_model_name": "mini/xlm-roberta", "hf_tokenizer_name": "mini/xlm-roberta", "hf_pooler_type": "mean_pooler",
    },
    "mt5": {"hf_model_name": "mini/mt5", "hf_tokenizer_name": "mini/mt5", "hf_pooler_type": "mean_pooler"},
}  # fmt: skip
CLIPS = ("transformers-chinese-clip", "transformers-altclip")
WORDS = "a photo of the dog cat rose banded criss crossed aircraft model recognition flower texture type".split()


def save(kind: str, folder: Path) -> None:
    """Write config.json and a tokenizer of a kind of tower."""
    tokenizer = word_pieces() if kind == "bert" else sentence_pieces(kind)
    tokenizer.save_pretrained(folder)
    CONFIGS[kind](len(tokenizer)).save_pretrained(folder)


def word_pieces() -> transformers.BertTokenizer:
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *WORDS]
    return transformers.BertTokenizer({piece: i for i, piece in enumerate(dict.fromkeys(pieces))})


def sentence_pieces(kind: str) -> transformers.PreTrainedTokenizerFast:
    """With the special tokens of a kind, where it has them."""
    special = ["<pad>", "</s>", "<unk>"] if kind == "mt5" else ["<s>", "<pad>", "</s>", "<unk>", "eng_Latn"]
    tokenizer = SentencePieceUnigramTokenizer()
    sentences = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] * 20
    sentences += [f"{string.ascii_letters} {string.digits} - ' , ."] * 20
    tokenizer.train_from_iterator(
        sentences, vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    before = {"mt5": "", "m2m_100": "eng_Latn "}.get(kind, "<s> ")
    marks = [(word, special.index(word)) for word in (before.strip(), "</s>") if word]
    tokenizer.post_processor = TemplateProcessing(single=f"{before}$A </s>", special_tokens=marks)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, **names)


def embedding(transformer: nn.Module) -> nn.Module:
    """The layer of the tokens."""
    return transformer.get_input_embeddings()


def clip(family: str, vision: dict, folder: Path) -> tuple[transformers.PreTrainedConfig, nn.Module]:
    """A CLIP whose text tower is a BERT, with its tokenizer in a folder."""
    chinese = family == "transformers-chinese-clip"
    tokenizer = word_pieces() if chinese else sentence_pieces("xlm-roberta")
    tokenizer.save_pretrained(folder)
    text = {**BERT, "vocab_size": len(tokenizer)}
    if chinese:
        config = transformers.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=48)
        return config, transformers.ChineseCLIPModel(config)
    text["project_dim"] = 40
    config = transformers.AltCLIPConfig(text_config=text, vision_config=vision, projection_dim=48)
    return config, transformers.AltCLIPModel(config)
