"""Trains the demo's tiny CLIP from random weights on drawn scenes with captions of many wordings.

    python scripts/demo/pretrain.py --steps 2600 --seed 0 --out scripts/demo/tiny_clip.npz

made the committed checkpoint: 60,000 scenes drawn in 4 minutes, 2,600 steps of 192 in 21 minutes, on two shared cores
of an AMD EPYC with bf16 instructions (PyTorch 2.15; set OMP_WAIT_POLICY=passive where others use the cores too). Sums
in bf16 differ between machines, so another run gives another, equally good file; `check.py` judges it.

OpenAI's architecture: ModifiedResNet (2, 2, 2, 1) of width 16 on 64 px, text tower of 3 layers 128 wide with 2 heads,
embedding 128. The checkpoint (.npz) holds every state-dict entry in fp16 (integers as they are) but the token
embedding: `token_ids` (n,) and `token_rows` (n, 128) are its only rows that the demo's words need, the others are
zeros. `meta` is a JSON string: command, seed, scenes, batch, steps, minutes, last losses (contrastive, attributes).
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
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])  # CLIP's preprocessing
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])


def augment(pictures: np.ndarray, flip: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normalised images (B, 3, S, S) of pictures (B, S, S, 3): shifted, mirrored where `flip` (B,) allows, toned."""

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
    return ((x - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)).contiguous(memory_format=torch.channels_last)


def contrastive_loss(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, same: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric loss of features (B, E); pairs with the same caption, `same` (B, B), share the target."""
    logits = scale * F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T  # (B, B)
    target = same.float() / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class AttributeHeads(nn.Module):
    """Linear readings of the scenes' attributes from image features, a second loss; dropped afterwards.

    A batch's captions alone say too little about shape and texture for the towers to find them in half an hour.
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
        """Class indices (N,) per attribute; -100 where the picture does not show it."""
        unseen = {"objects": ["digit"], "sign": ["digit", "texture", "count"], "digit": ["shape", "texture", "count"]}
        out = {}
        for name, values in self.values.items():
            index = {value: i for i, value in enumerate(values)}
            hidden = [name in unseen[s.kind] or (name == "texture" and not s.filled) for s in shown]
            out[name] = torch.tensor(
                [-100 if h else index[getattr(s, name)] for h, s in zip(hidden, shown, strict=True)]
            )
        return out

    def forward(self, image: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean cross-entropy over the attributes; `image` (B, E)."""
        x = 10 * F.normalize(image.float(), dim=-1)
        return torch.stack([F.cross_entropy(head(x), targets[k]) for k, head in self.heads.items()]).mean()


def batch_captions(shown: list[Scene], rng: random.Random) -> list[str]:
    """Captions of a batch; half of them hide what nearly identifies a picture, leaving the rest no gradient."""
    hide = rng.choices([{"colour", "background"}, {"background"}, set()], [0.5, 0.15, 0.35])[0]
    long = 0.5 if rng.random() < 0.2 else 0.0
    return [captions.caption(s, rng, frozenset(hide), rng.random() < long) for s in shown]


def save(path: Path, model: CLIP, words: Words, meta: dict) -> None:
    """Writes the checkpoint, replacing an older one only when complete."""
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
    parameters = [p for m in modules for p in m.parameters()]
    decay = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=True)
    warm = min(100, steps // 5)

    def factor(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / (steps - warm))))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


class Batches:
    """Random batches of scenes with fresh captions and views; `state` makes them resumable."""

    def __init__(self, shown: list[Scene], pictures: np.ndarray, words: Words, size: int, seed: int) -> None:
        self.shown, self.pictures, self.words, self.size = shown, pictures, words, size
        self.rng, self.generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def draw(self) -> tuple[np.ndarray, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Scene numbers (B,), images (B, 3, S, S), text (B, L), which pairs share a caption (B, B)."""
        chosen = np.array(self.rng.sample(range(len(self.shown)), self.size))
        batch = [self.shown[i] for i in chosen]
        texts = batch_captions(batch, self.rng)
        flip = torch.tensor([s.kind != "digit" for s in batch])
        same = torch.tensor([[a == b for b in texts] for a in texts])
        return chosen, augment(self.pictures[chosen], flip, self.generator), self.words.encode(texts), same

    def state(self) -> tuple:
        return self.rng.getstate(), self.generator.get_state()

    def restore(self, state: tuple) -> None:
        version, internal, gauss = state[0]
        self.rng.setstate((version, tuple(internal), gauss))
        self.generator.set_state(state[1])


def resume(path: Path, parts: dict, batches: Batches, meta: dict) -> int:
    """Restores an interrupted training in place; returns the next step, 1 if there is nothing to resume."""
    if not path.exists():
        return 1
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state["parts"][name])
    batches.restore(state["batches"])
    meta |= state["meta"]
    return meta["steps"] + 1


def train(args: argparse.Namespace) -> None:
    """Draws the world, trains, and writes the checkpoint (and a file to resume from) every 200 steps and at the end."""
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--heads", type=float, default=1.0, help="weight of the attribute heads' loss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training of the same options")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    train(parser.parse_args())
