"""Train the demo's tiny CLIP from random weights on drawn scenes with captions of many wordings.

    python scripts/demo/pretrain.py --steps 2600 --seed 0 --out scripts/demo/tiny_clip.npz

This made the committed checkpoint: 60,000 scenes drawn in 4 minutes, then 2,600 steps of 192 in 21 minutes, on two
shared cores of an AMD EPYC with bf16 instructions and PyTorch 2.15. Set OMP_WAIT_POLICY=passive if others use the cores
too. Sums in bf16 differ between machines, so another run gives another, equally good file. `check.py` evaluates it.

The architecture is OpenAI's: a ModifiedResNet (2, 2, 2, 1) of width 16 for 64 px, a text tower of 3 layers, 128 wide,
with 2 heads, and an embedding of 128. The checkpoint (.npz) holds the state dict in fp16 (integers as they are). Of the
token embedding it holds the rows that the demo's words need, `token_ids` (n,) and `token_rows` (n, 128); the others are
zero. `meta` is a JSON string: command, seed, scenes, batch, steps, minutes, last losses (contrastive, attributes).
"""

import argparse
import json
import math
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import numpy as np
import torch
import torch.nn.functional as F
from clip.model import CLIP
from torch import nn

from scripts.lib.drawn import captions, sampling, surfaces, world
from scripts.lib.drawn.scenes import Scene
from scripts.lib.drawn.towers import encode_text
from scripts.lib.drawn.words import Words
from softcpt.backbones.config import OPENAI_MEAN, OPENAI_STD

ARCHITECTURE = dict(
    embed_dim=128,
    image_resolution=64,
    vision_layers=(2, 2, 2, 1),
    vision_width=16,
    vision_patch_size=None,
    context_length=77,
    transformer_width=128,
    transformer_heads=2,
    transformer_layers=3,
)


def augment(pictures: np.ndarray, flip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normalised images (B, 3, S, S) of pictures (B, S, S, 3), randomly shifted, scaled, flipped and toned.

    `flip` (B,) says which pictures may be flipped.
    """

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    b = len(x)
    scale = uniform(0.85, 1.12, b, 1) * torch.where(flip & (uniform(0, 1, b) < 0.5), -1.0, 1.0)[:, None]
    zero = torch.zeros(b, 1)
    rows = [scale, zero, uniform(-0.1, 0.1, b, 1), zero, scale.abs(), uniform(-0.1, 0.1, b, 1)]
    grid = F.affine_grid(torch.cat(rows, 1).view(b, 2, 3), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    x = x * uniform(0.85, 1.1, b, 3, 1, 1) + uniform(-0.06, 0.06, b, 1, 1, 1)
    x = (x + uniform(0, 0.04, b, 1, 1, 1) * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (OPENAI_MEAN, OPENAI_STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def contrastive_loss(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric loss of features (B, E). Pairs with the same caption, `same` (B, B), share the target."""
    logits = scale * F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T  # (B, B)
    target = same.float() / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class AttributeHeads(nn.Module):
    """Linear classifiers of the scenes' attributes on image features: a second loss, dropped after the training.

    Captions alone say too little about shape and texture for the towers to learn them in half an hour.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.values = {
            "shape": world.SHAPES,
            "colour": tuple(world.COLOURS),
            "texture": surfaces.TEXTURES,
            "count": range(1, 6),
            "background": (*surfaces.BACKGROUNDS, "paper", "plain"),
            "digit": range(10),
        }
        self.heads = nn.ModuleDict({k: nn.Linear(width, len(v)) for k, v in self.values.items()})

    def targets(self, shown: list[Scene]) -> dict[str, torch.Tensor]:
        """Class indices (N,) of each attribute; -100 where the picture does not show it."""
        unseen = {"objects": ["digit"], "sign": ["digit", "texture", "count"], "digit": ["shape", "texture", "count"]}
        out = {}
        for name, values in self.values.items():
            index = {value: i for i, value in enumerate(values)}
            hidden = [name in unseen[s.kind] or (name == "texture" and not s.filled) for s in shown]
            out[name] = torch.tensor([-100 if h else index[getattr(s, name)] for h, s in zip(hidden, shown)])
        return out

    def forward(self, image: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean cross-entropy over the attributes; `image` (B, E)."""
        x = 10 * F.normalize(image.float(), dim=-1)
        return torch.stack([F.cross_entropy(head(x), targets[k]) for k, head in self.heads.items()]).mean()


def batch_captions(shown: list[Scene], rng: random.Random) -> list[str]:
    """Captions of a batch. Two batches in three do not mention the background, and most of these not the colour.

    Both nearly identify a picture, so that the other words would get no gradient.
    """
    hide = rng.choices([{"colour", "background"}, {"background"}, set()], [0.5, 0.15, 0.35])[0]
    long = 0.5 if rng.random() < 0.2 else 0.0
    return [captions.caption(s, rng, frozenset(hide), rng.random() < long) for s in shown]


def save(path: Path, model: CLIP, words: Words, meta: dict) -> None:
    """Write the checkpoint. An older file is replaced only once the new one is complete."""
    arrays = {}
    for key, value in model.state_dict().items():
        arrays[key] = value.numpy().astype(np.float16) if value.is_floating_point() else value.numpy()
    arrays["token_rows"] = arrays.pop("token_embedding.weight")
    arrays["token_ids"] = np.array(words.ids)
    arrays["activation"] = np.array("quickgelu")
    arrays["meta"] = np.array(json.dumps(meta))
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    os.replace(part, path)


def make_optimiser(modules: list[nn.Module], lr: float, steps: int) -> tuple:
    """AdamW without decay of biases and gains, and its schedule: a short warm-up, then a cosine to 0."""
    parameters = list(nn.ModuleList(modules).parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)
    warm = max(1, min(100, steps // 5))

    def factor(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, steps - warm))))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


class Batches:
    """Random batches of scenes with random captions and views. `restore` continues from a `state`."""

    def __init__(self, shown: list[Scene], pictures: np.ndarray, words: Words, size: int, seed: int) -> None:
        self.shown, self.pictures, self.words, self.size = shown, pictures, words, size
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def draw(self) -> tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Numbers of scenes (B,), images (B, 3, S, S), text (B, L), and which pairs share a caption (B, B)."""
        chosen = np.array(self.rng.sample(range(len(self.shown)), self.size))
        batch = [self.shown[i] for i in chosen]
        texts = batch_captions(batch, self.rng)
        flip = torch.tensor([s.kind != "digit" for s in batch])
        same = torch.tensor([[a == b for b in texts] for a in texts])
        return chosen, augment(self.pictures[chosen], flip, self.generator), self.words.encode(texts), same

    def state(self) -> tuple:
        return self.rng.getstate(), self.generator.get_state()

    def restore(self, state: tuple) -> None:
        self.rng.setstate(state[0])
        self.generator.set_state(state[1])


def resume(path: Path, parts: dict, batches: Batches, meta: dict) -> int:
    """Restore an interrupted training in place. Returns its next step, 1 if there is nothing to resume."""
    if not path.exists():
        return 1
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    batches.restore(state["batches"])
    meta |= state["meta"]
    return meta["steps"] + 1


def train(args: argparse.Namespace) -> None:
    """Draw the scenes, train, and write the checkpoint, and a file to resume from, every 200 steps and at the end."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    began, words = time.time(), Words()
    shown, pictures = sampling.draw_world(args.seed, args.images)
    print(f"{len(shown)} scenes drawn in {time.time() - began:.0f} s, {len(words.ids)} token rows", flush=True)
    model = CLIP(vocab_size=len(words.ids), **ARCHITECTURE).to(memory_format=torch.channels_last)
    heads = AttributeHeads(ARCHITECTURE["embed_dim"])
    targets = heads.targets(shown)
    optimiser, schedule = make_optimiser([model, heads], args.lr, args.steps)
    meta = {"command": " ".join(["python", *sys.argv]), "seed": args.seed, "images": len(shown), "batch": args.batch}
    batches = Batches(shown, pictures, words, args.batch, args.seed)
    parts = {"model": model, "heads": heads, "optimiser": optimiser, "schedule": schedule}
    state_file = args.out.with_suffix(".state")
    first = resume(state_file, parts, batches, meta) if args.resume else 1
    losses, began = [], time.time() - 60 * meta.get("minutes", 0)
    for step in range(first, args.steps + 1):
        chosen, images, text, same = batches.draw()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            image_features, text_features = model.visual(images), encode_text(model, text)
        loss = contrastive_loss(image_features, text_features, model.logit_scale.exp(), same)
        second = heads(image_features, {k: v[chosen] for k, v in targets.items()})
        optimiser.zero_grad()
        (loss + args.heads * second).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=math.log(100))
        losses.append((loss.item(), second.item()))
        if step % 50 == 0 or step == args.steps:
            mean = np.mean(losses[-50:], 0).round(3).tolist()
            meta |= {"steps": step, "minutes": round((time.time() - began) / 60, 1), "losses": mean}
            print(f"step {step}/{args.steps} losses {mean} {meta['minutes']} min", flush=True)
        if step % 200 == 0 or step == args.steps:
            save(args.out, model, words, meta)
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save({"parts": state, "batches": batches.state(), "meta": meta}, state_file)
    state_file.unlink()


def training_parser(description: str, steps: int) -> argparse.ArgumentParser:
    """The options that this script shares with distil.py."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    return parser


if __name__ == "__main__":
    parser = training_parser(__doc__, steps=2600)
    parser.add_argument("--heads", type=float, default=1.0, help="weight of the attribute heads' loss")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted training with the same options")
    train(parser.parse_args())
