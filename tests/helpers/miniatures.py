"""Randomly initialised miniatures of every family, made and saved by the families' own libraries."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import open_clip
import torch
import transformers
import transformers_texts
from clip import clip
from clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor, nn

from scripts.demo.convert import save_tokenizer

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}
VISION = {"image_size": 32, "patch_size": 16, "width": 64, "head_width": 32, "layers": 2}
SIGLIP_TEXT = {
    "context_length": 64, "vocab_size": 300, "width": 64, "heads": 2, "layers": 2, "hf_tokenizer_name": "here",
    "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
}  # fmt: skip
TIMM = {"timm_model_pretrained": False, "image_size": 32}
SIGLIP_TIMM = {"timm_model_name": "vit_tiny_patch16_siglip_mini", "timm_pool": "map", "timm_proj": "none", **TIMM}
EVA_TIMM = {"timm_model_name": "eva02_tiny_mini", "timm_pool": "token", "timm_proj": None, **TIMM}
PE_TIMM = {"timm_model_name": "vit_pe_core_mini", "timm_pool": "map", "timm_proj": None, **TIMM}
CONVNEXT = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "timm_drop": 0.0, **TIMM}
COCA = {"width": 64, "heads": 2, "layers": 1, "context_length": 76, "vocab_size": 49408, "attn_pooler_heads": 2}
COCA_VISION = {**VISION, "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
# Families: what open_clip builds from; each is a miniature of a published kind.
OPEN_CLIP = {
    "open_clip-vit": {"vision_cfg": VISION, "text_cfg": TEXT},
    "open_clip-quickgelu": {"vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "open_clip-custom-text": {
        "vision_cfg": {**VISION, "ls_init_value": 0.1, "pool_type": "avg", "no_ln_pre": True},
        "text_cfg": {**TEXT, "ls_init_value": 0.1, "mlp_ratio": 2.0, "pool_type": "eos", "eos_id": 49407},
        "custom_text": True,
    },
    "open_clip-last-token": {
        "vision_cfg": {**VISION, "final_ln_after_pool": True, "pool_type": "avg"},
        "text_cfg": {**TEXT, "pool_type": "last"},
        "custom_text": True,
    },
    "open_clip-resnet": {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT},
    "open_clip-convnext": {"vision_cfg": CONVNEXT, "text_cfg": TEXT, "custom_text": True},
    "open_clip-eva": {"vision_cfg": EVA_TIMM, "text_cfg": TEXT, "custom_text": True},
    "open_clip-pe": {"vision_cfg": PE_TIMM, "text_cfg": TEXT, "custom_text": True},
    "open_clip-siglip": {
        "vision_cfg": SIGLIP_TIMM, "text_cfg": SIGLIP_TEXT, "custom_text": True, "init_logit_bias": -10.0,
    },
    "open_clip-coca": {
        "vision_cfg": COCA_VISION, "multimodal_cfg": COCA, "custom_text": True,
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
    },
    **{f"open_clip-{kind}": {"vision_cfg": VISION, "text_cfg": cfg} for kind, cfg in transformers_texts.TEXTS.items()},
}  # fmt: skip
TRANSFORMERS = ("transformers-clip", "transformers-siglip", "transformers-metaclip2")
FAMILIES = ("openai-vit", "openai-resnet", *OPEN_CLIP, *TRANSFORMERS, *transformers_texts.CLIPS)
FOREIGN = (*transformers_texts.CLIPS, *(f"open_clip-{kind}" for kind in transformers_texts.TEXTS))
FULL_MASK = ("open_clip-siglip", "transformers-siglip", *FOREIGN)


def text_tower(family: str) -> str:
    """The kind of a family's text tower, in the words of the documentation."""
    return "full mask" if family in FULL_MASK else "class token" if family == "open_clip-coca" else "causal"


@dataclass
class Miniature:
    """A saved model and its library's own functions.

    Attributes:
        name: for MODEL.BACKBONE.NAME.
        encode_image, encode_text: of the library; text as rows of token ids.
        tokenize: sentences to rows of ids, as the library does it.
        embedding: of the text tower, the layer of the tokens.
    """

    name: str
    model: nn.Module
    encode_image: Callable[[Tensor], Tensor]
    encode_text: Callable[[Tensor], Tensor]
    tokenize: Callable[[list[str]], Tensor]
    embedding: nn.Module


@functools.cache
def make(family: str, folder: Path) -> Miniature:
    """A family's miniature, saved below `folder`. Its weights are as large as trained ones, so that errors show."""
    torch.manual_seed(0)
    folder = folder / family
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        if family.startswith("openai"):
            return _openai(family, folder)
        if family.startswith("open_clip"):
            return _open_clip(family, folder)
        return _transformers(family, folder)


def enlarge(model: nn.Module) -> nn.Module:
    """Random biases, gains and embeddings in place of zeros, ones and tiny numbers."""
    for name, parameter in model.named_parameters():
        if parameter.dim() <= 1 and "logit" not in name:
            parameter.add_(0.2 * torch.randn_like(parameter))
        elif "embed" in name or "class" in name or "probe" in name or "proj" in name.rsplit(".", 2)[-1]:
            parameter.copy_(0.3 * torch.randn_like(parameter))
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(0.1 * torch.rand_like(buffer))
    return model.eval().requires_grad_(False)


def _openai(family: str, folder: Path) -> Miniature:
    vision = (64, (1, 1, 1, 1), 8, None) if family == "openai-resnet" else (32, 2, 64, 16)
    model = CLIP(64, *vision, 77, 49408, 64, 1, 3)
    enlarge(model)
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "clip.safetensors")
    name = f"{folder}/clip.safetensors@quickgelu"
    return Miniature(name, model, model.encode_image, model.encode_text, clip.tokenize, model.token_embedding)


def register_tiny_timm_models() -> None:
    """Small versions of the image towers of SigLIP, EVA and PE-Core, which timm has only in large sizes."""
    import timm.models.eva as eva
    import timm.models.vision_transformer as vit
    from timm.models import is_model, register_model

    sizes = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 2}
    if is_model(SIGLIP_TIMM["timm_model_name"]):
        return

    def siglip(**options) -> nn.Module:
        return vit.VisionTransformer(**{**sizes, "class_token": False, **of_the_architecture(options)})

    def eva02(**options) -> nn.Module:
        rope = {"use_rot_pos_emb": True, "ref_feat_shape": (2, 2), "qkv_fused": False, "swiglu_mlp": True}
        return eva.Eva(**{**sizes, **rope, "scale_mlp": True, **of_the_architecture(options)})

    def pe_core(**options) -> nn.Module:
        rope = {"use_rot_pos_emb": True, "ref_feat_shape": (2, 2), "rope_grid_offset": 1.0, "rope_grid_indexing": "xy"}
        norms = {"attn_type": "rope", "use_pre_transformer_norm": True, "attn_pool_num_heads": 4}
        return eva.Eva(**{**sizes, **rope, **norms, **of_the_architecture(options)})

    def of_the_architecture(options: dict) -> dict:
        others = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
        return {key: value for key, value in options.items() if key not in others}

    for name, module, function in (
        (SIGLIP_TIMM["timm_model_name"], vit, siglip),
        (EVA_TIMM["timm_model_name"], eva, eva02),
        (PE_TIMM["timm_model_name"], eva, pe_core),
    ):
        function.__name__, function.__module__ = name, module.__name__
        register_model(function)


def _open_clip(family: str, folder: Path) -> Miniature:
    return of_open_clip({"embed_dim": 64, **OPEN_CLIP[family]}, folder, family)


def of_open_clip(cfg: dict, folder: Path, family: str = "") -> Miniature:
    """What open_clip builds from a `model_cfg`, saved in a folder."""
    register_tiny_timm_models()
    if "hf_model_name" in cfg["text_cfg"]:
        return _open_clip_with_transformers(cfg, folder)
    if "siglip" in family:
        save_siglip_tokenizer(folder)
    elif "timm_model_name" in cfg["vision_cfg"] and cfg["vision_cfg"]["timm_proj"] is None:
        cfg["vision_cfg"] = {**cfg["vision_cfg"], "timm_proj": ""}
    squash = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    content = {"model_cfg": cfg, "preprocess_cfg": squash if "siglip" in family else {}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    return _saved(folder, lambda model: getattr(model, "text", model).token_embedding)


def _open_clip_with_transformers(cfg: dict, folder: Path) -> Miniature:
    """With the text tower's config and tokenizer beside the weights. The library gets it from there, too."""
    kind = cfg["text_cfg"]["hf_model_name"].removeprefix("mini/")
    transformers_texts.save(kind, folder)
    path, content = folder / "open_clip_config.json", {"model_cfg": cfg, "preprocess_cfg": {}}
    here = {**cfg, "text_cfg": {**cfg["text_cfg"], "hf_model_name": str(folder)}}
    path.write_text(json.dumps({**content, "model_cfg": here}))
    result = _saved(folder, lambda model: transformers_texts.embedding(model.text.transformer))
    path.write_text(json.dumps(content))
    return result


def _saved(folder: Path, embedding: Callable[[nn.Module], nn.Module]) -> Miniature:
    """The library's model of a folder, with weights that it writes there."""
    model = enlarge(open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False))
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    encode_image, encode_text = (partial(f, normalize=False) for f in (model.encode_image, model.encode_text))
    return Miniature(f"open_clip:{folder}", model, encode_image, encode_text, tokenizer, embedding(model))


def _transformers(family: str, folder: Path) -> Miniature:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    if family == "transformers-clip":
        text = {**sizes, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
        config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=48)
        model = transformers.CLIPModel(config)
        save_tokenizer(folder)
    elif family == "transformers-metaclip2":
        text = {**sizes, "vocab_size": 303, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        config = transformers.MetaClip2Config(text_config=text, vision_config=vision, projection_dim=48)
        model = transformers.MetaClip2Model(config)
        save_metaclip2_tokenizer(folder)
    elif family in ("transformers-chinese-clip", "transformers-altclip"):
        config, model = transformers_texts.clip(family, vision, folder)
    else:
        config = transformers.SiglipConfig(text_config={**sizes, "vocab_size": 300}, vision_config=vision)
        model = transformers.SiglipModel(config)
        save_siglip_tokenizer(folder)
    enlarge(model).save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    length = min(config.text_config.max_position_embeddings, 77)

    def tokenize(texts: list[str]) -> Tensor:
        return tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt").input_ids

    def encode_text(ids: Tensor) -> Tensor:
        mask = (ids != tokenizer.pad_token_id).long() if family in transformers_texts.CLIPS else None
        return _pooled(model.get_text_features(input_ids=ids, attention_mask=mask))

    return Miniature(
        str(folder),
        model,
        lambda image: _pooled(model.get_image_features(pixel_values=image)),
        encode_text,
        tokenize,
        model.text_model.get_input_embeddings(),
    )


def _pooled(output: object) -> Tensor:
    return output if isinstance(output, Tensor) else output.pooler_output


def save_siglip_tokenizer(folder: Path) -> None:
    """A tokenizer of SigLIP's kind, with a vocabulary of 300 pieces trained on a few sentences."""
    train_pieces(folder)
    tokenizer = transformers.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=64)
    tokenizer.save_pretrained(folder)


def save_metaclip2_tokenizer(folder: Path) -> None:
    """A tokenizer of MetaCLIP 2's kind, which is XLM-R's, with the same pieces."""
    from sentencepiece import SentencePieceProcessor

    train_pieces(folder)
    pieces = SentencePieceProcessor(str(folder / "spiece.model"))
    (folder / "spiece.model").unlink(), (folder / "spiece.vocab").unlink()
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    own = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(3, pieces.get_piece_size())]
    transformers.XLMRobertaTokenizer(vocab=[*special, *own, ("<mask>", 0.0)]).save_pretrained(folder)


def train_pieces(folder: Path) -> None:
    import sentencepiece

    words = "a photo of the dog cat rose banded criss crossed aircraft model recognition flower texture type ".split()
    sentences = [" ".join(words[i:] + words[:i]) for i in range(len(words))] * 20
    sentences += ["abcdefghijklmnopqrstuvwxyz 0123456789 - ' , ."] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(folder / "spiece"), vocab_size=300, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
