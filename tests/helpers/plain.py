"""The plain path of the CoOp family, an oracle: prompts of 77 tokens through the clip package's own modules."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from clip import clip
from clip.model import CLIP, build_model
from torch import Tensor

from softcpt.backbones.weights import read_state_dict, restore_token_rows

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@functools.cache
def reference(path: Path = GOLDEN / "tiny_vit.npz") -> CLIP:
    """The clip package's own model of a file, in fp32, frozen."""
    return build_model(restore_token_rows(read_state_dict(path))).float().eval().requires_grad_(False)


def prompt(model, name: str, context: Tensor, position: str) -> tuple[Tensor, int]:
    """Token embeddings (77, D) of [SOS] context name . [EOS] in the order of `position`, and where [EOS] stands."""
    name = name.replace("_", " ")
    m, n_name = len(context), len(clip._tokenizer.encode(name))
    ids = clip.tokenize(" ".join(["X"] * m) + f" {name}.")[0]
    embedded = model.token_embedding(ids)
    sos, words, rest = embedded[:1], embedded[1 + m : 1 + m + n_name], embedded[1 + m + n_name :]
    pieces = {
        "end": [sos, context, words, rest],
        "middle": [sos, context[: m // 2], words, context[m // 2 :], rest],
        "front": [sos, words, context, rest],
    }[position]
    return torch.cat(pieces), int(ids.argmax())


def encode(model, embedded: Tensor, eos: Tensor) -> Tensor:
    """Features (R, E) of prompts (R, 77, D)."""
    x = embedded + model.positional_embedding
    x = model.transformer(x.permute(1, 0, 2)).permute(1, 0, 2)
    return model.ln_final(x)[torch.arange(len(x)), eos] @ model.text_projection


def features(model, names: list[str], contexts: Tensor, position: str = "end") -> Tensor:
    """Features (R, E) of names, each with its own context of contexts (R, M, D)."""
    rows = [prompt(model, name, context, position) for name, context in zip(names, contexts)]
    return encode(model, torch.stack([row for row, _ in rows]), torch.tensor([eos for _, eos in rows]))


def zero_shot(names: list[str], templates: list[str]) -> Tensor:
    """Features (R, E) of names in hand-made sentences, one template for each name."""
    tokens = clip.tokenize([template.format(name) for template, name in zip(templates, names)])
    return reference().encode_text(tokens)


# -- one sentence and one image at a time, with prompts in the deeper layers -------------------------------------------


def text_feature(model, name, prompts, words="a photo of a"):
    """(E,) of "words name .": in layer i the tokens after [SOS] are P_i, whatever the layer before made of them."""
    ids = clip.tokenize(f"{words} {name}." if words else " ".join(["X"] * len(prompts[0])) + f" {name}.")[0]
    x = model.token_embedding(ids)
    m = len(prompts[0])
    x = torch.cat([x[:1], prompts[0], x[1 + m :]]) + model.positional_embedding
    for i, block in enumerate(model.transformer.resblocks):
        if 0 < i < len(prompts):
            x = torch.cat([x[:1], prompts[i], x[1 + m :]])
        x = block(x.unsqueeze(1)).squeeze(1)
    return model.ln_final(x)[ids.argmax()] @ model.text_projection


def image_feature(model, image, prompts):
    """(E,) of image (3, H, W): in layer i the tokens after the patches are `prompts[i]` (M, W)."""
    visual, m = model.visual, len(prompts[0])
    patches = visual.conv1(image.unsqueeze(0)).flatten(2).squeeze(0).T
    x = torch.cat([visual.class_embedding.unsqueeze(0), patches]) + visual.positional_embedding
    x = visual.ln_pre(torch.cat([x, prompts[0]]))
    for i, block in enumerate(visual.transformer.resblocks):
        if 0 < i < len(prompts):
            x = torch.cat([x[: len(x) - m], prompts[i]])
        x = block(x.unsqueeze(1)).squeeze(1)
    return visual.ln_post(x[0]) @ visual.proj
