"""The clip package's models at the size of the demo: the tokens that they know, files, and fast forward passes."""

import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from clip.model import CLIP, VisionTransformer, build_model
from clip.simple_tokenizer import SimpleTokenizer
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from scripts.demo.pretraining import captions
from softcpt.backbones.weights import read_state_dict, restore_token_rows

START, END = 49406, 49407


class Words:
    """The few of CLIP's 49,408 tokens that captions and prompts need, as indices into a small embedding.

    Attributes:
        ids: the token ids of its rows, in ascending order.
    """

    def __init__(self) -> None:
        self.tokens = functools.cache(SimpleTokenizer().encode)
        texts = captions.vocabulary()
        texts += [word + mark for text in texts for word in text.split() for mark in ".:"]
        # END stays the largest index: CLIP finds the end of a text by argmax.
        self.ids = sorted({START, END, *(token for text in texts for token in self.tokens(text))})
        self.row = {token: row for row, token in enumerate(self.ids)}

    def encode(self, texts: list[str]) -> torch.Tensor:
        """Indices (B, L) of START, the text and END, padded with 0 to the longest text."""
        rows = []
        for text in texts:
            tokens = [token for word in text.split() for token in self.tokens(word)]
            rows.append(torch.tensor([self.row[token] for token in (START, *tokens, END)]))
        return pad_sequence(rows, batch_first=True)


def save(path: Path, model: CLIP, meta: dict) -> None:
    """Write a checkpoint, see README.md. An older file is replaced only once the new one is complete."""
    arrays = {}
    for key, value in model.state_dict().items():
        arrays[key] = value.numpy().astype(np.float16) if value.is_floating_point() else value.numpy()
    arrays["token_rows"] = arrays.pop("token_embedding.weight")
    arrays["token_ids"] = np.array(Words().ids)
    arrays["activation"] = np.array("quickgelu")
    arrays["meta"] = np.array(json.dumps(meta))
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    os.replace(part, path)


def load(path: Path) -> tuple[CLIP, set[int]]:
    """The model of a checkpoint, frozen, in fp32, and the ids of the tokens that it knows."""
    state = read_state_dict(path)
    model = build_model(restore_token_rows(state)).float().eval().requires_grad_(False)
    return model, set(state["token_ids"].tolist())


def run_blocks(blocks: Iterable[nn.Module], x: torch.Tensor, mask: torch.Tensor | float = 0.0) -> torch.Tensor:
    """CLIP's transformer layers on x (B, L, D), with attention written out: at this size the fused kernel is slower.
    `mask` (L, L) is added to the attention logits."""
    for block in blocks:
        heads, width = block.attn.num_heads, x.shape[-1]
        qkv = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
        q, k, v = qkv.reshape(*x.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4)  # (B, H, L, D/H)
        weight = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5 + mask).softmax(-1)
        x = x + block.attn.out_proj((weight.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.ln_2(x))
    return x


def encode_text(model: CLIP, text: torch.Tensor) -> torch.Tensor:
    """Text features (B, E) of token indices (B, L)."""
    x = model.token_embedding(text) + model.positional_embedding[: text.shape[1]]  # (B, L, D)
    causal = torch.full((text.shape[1],) * 2, float("-inf")).triu(1)
    x = model.ln_final(run_blocks(model.transformer.resblocks, x, causal))
    return x[torch.arange(len(x)), text.argmax(-1)] @ model.text_projection


def encode_image(tower: VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    """Image features (B, E) of images (B, 3, S, S)."""
    x = tower.conv1(images).flatten(2).transpose(1, 2)  # (B, patches, W)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1) + tower.positional_embedding
    x = run_blocks(tower.transformer.resblocks, tower.ln_pre(x))
    return tower.ln_post(x[:, 0]) @ tower.proj
