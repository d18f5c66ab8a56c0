"""open_clip's architectures with random weights and few layers, and tiny tokenizers and text configs of the kinds that
they take from Hugging Face's hub, in a cache of their own. For check_open_clip.py."""

import copy
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
import transformers
from small_tokenizers import make
from torch import nn

LAYERS = 2
VOCABULARY = 640  # of the tiny tokenizers, at most
# What makes timm's models of a module shallow; their widths stay.
SHALLOW: dict[str, dict[str, Any]] = {
    "convnext": {"depths": (1, 1, 1, 1)},
    "swin_transformer": {"depths": (1, 1, 2, 1)},
    "fastvit": {"layers": (1, 1, 1, 1)},
}
FIVE_STAGES = ("fastvit_mci3", "fastvit_mci4")
TEXTS = {
    "roberta": transformers.RobertaConfig,
    "xlm-roberta": transformers.XLMRobertaConfig,
    "mt5": transformers.MT5Config,
    "nllb": transformers.M2M100Config,
}
_BERT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
_BERT["max_position_embeddings"] = 130
SMALL = {
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "mt5": {"d_model": 64, "d_kv": 32, "d_ff": 96, "num_layers": 2, "num_heads": 2},
    "nllb": {
        "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 96,
        "max_position_embeddings": 128, "scale_embedding": True,
    },
}  # fmt: skip


def shallow_timm() -> None:
    """Make timm build shallow models from now on."""
    own = timm.create_model

    def create_model(name: str, **options: Any) -> nn.Module:
        module = timm.models.model_entrypoint(name).__module__.rsplit(".", 1)[-1]
        few = SHALLOW.get(module, {"depth": LAYERS})
        return own(name, **{**({"layers": (1,) * 5} if name in FIVE_STAGES else few), **options})

    timm.create_model = create_model


def reduced(architecture: str) -> dict[str, Any]:
    """The config of an architecture with few layers; where the tokenizer is tiny, with its vocabulary."""
    cfg = copy.deepcopy(open_clip.get_model_config(architecture))
    vision, text = cfg["vision_cfg"], cfg["text_cfg"]
    if isinstance(vision.get("layers"), list):
        vision["layers"] = [1, 1, 1, 1]
    elif "layers" in vision:
        vision["layers"] = LAYERS
    if "layers" in text:
        text["layers"] = LAYERS
    if "multimodal_cfg" in cfg:
        cfg["multimodal_cfg"]["layers"] = 1
    if text.get("hf_tokenizer_name"):
        text["vocab_size"] = VOCABULARY
    return cfg


def random_model(architecture: str, facts: dict[str, Any]) -> nn.Module:
    """A model of the library, with weights as large as trained ones, so that errors show."""
    known = {key: facts[key] for key in ("mean", "std", "interpolation", "resize_mode") if facts.get(key)}
    model = open_clip.create_model(
        architecture,
        load_weights=False,
        pretrained_text=False,
        force_quick_gelu=bool(facts.get("quick_gelu")),
        force_preprocess_cfg=known,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() <= 1 and "logit" not in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "embed" in name or "class" in name or "proj" in name.rsplit(".", 2)[-1]:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    return model.eval().requires_grad_(False)


class Cache:
    """A cache of huggingface_hub's, filled with tiny tokenizers and text configs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, text_cfg: dict[str, Any]) -> None:
        """What the text tower of an architecture takes from the hub."""
        if name := text_cfg.get("hf_model_name"):
            kind = next(kind for kind in sorted(TEXTS, key=len, reverse=True) if kind in name)
            TEXTS[kind](vocab_size=VOCABULARY, **SMALL[kind]).save_pretrained(self._snapshot(name))
        if name := text_cfg.get("hf_tokenizer_name"):
            folder = self._snapshot(name)
            if not (folder / "tokenizer.json").is_file():
                make(tokenizer_kind(name)).save_pretrained(folder)
            if not (folder / "config.json").is_file():
                (folder / "config.json").write_text("{}")  # transformers looks for it, too

    def _snapshot(self, repo: str) -> Path:
        there = self.folder / f"models--{repo.replace('/', '--')}"
        (there / "refs").mkdir(parents=True, exist_ok=True)
        (there / "refs" / "main").write_text("0123abcd")
        (there / "snapshots" / "0123abcd").mkdir(parents=True, exist_ok=True)
        return there / "snapshots" / "0123abcd"


def tokenizer_kind(repo: str) -> str:
    """The kind of the tokenizer of a repository that an architecture of open_clip names; NLLB's has the form of
    XLM-R's, with a language in the place of <s>."""
    for part, kind in (("SigLIP2", "gemma"), ("SigLIP", "mt5"), ("mt5", "mt5"), ("nllb", "xlmr"), ("xlm", "xlmr")):
        if part in repo:
            return kind
    return "roberta" if "roberta" in repo else "bert"
