"""Train the demo's tiny CLIP from random weights on drawn scenes with captions of many wordings. See README.md.

python scripts/demo/pretraining/pretrain.py --out scripts/demo/tiny_clip.npz [--steps 2600] [--seed 0]
"""

import argparse
import math
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import numpy as np
import torch
import torch.nn.functional as F
from clip.model import CLIP
from torch import Tensor, nn

from scripts.demo import surfaces, world
from scripts.demo.pretraining import captions, sampling, towers
from scripts.demo.scenes import Scene
from softcpt.backbones.config import OPENAI_MEAN, OPENAI_STD

SCENES, BATCH, RATE = 60_000, 192, 1.5e-3
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


def augment(pictures: np.ndarray, flip: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised images (B, 3, S, S) of pictures (B, S, S, 3), randomly shifted, scaled, flipped and toned.

    `flip` (B,) says which pictures may be flipped.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
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


def can_flip(shown: list[Scene]) -> Tensor:
    return torch.tensor([scene.kind != "digit" for scene in shown])


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
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

    def targets(self, shown: list[Scene]) -> dict[str, Tensor]:
        """Class indices (N,) of each attribute; -100 where the picture does not show it."""
        unseen = {"objects": ["digit"], "sign": ["digit", "texture", "count"], "digit": ["shape", "texture", "count"]}
        out = {}
        for name, values in self.values.items():
            index = {value: i for i, value in enumerate(values)}
            hidden = [name in unseen[s.kind] or (name == "texture" and not s.filled) for s in shown]
            out[name] = torch.tensor([-100 if h else index[getattr(s, name)] for h, s in zip(hidden, shown)])
        return out

    def forward(self, image: Tensor, targets: dict[str, Tensor]) -> Tensor:
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


def make_optimiser(modules: list[nn.Module], steps: int) -> tuple:
    """AdamW without decay of biases and gains, and its schedule: a short warm-up, then a cosine to 0."""
    parameters = list(nn.ModuleList(modules).parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
    warm = max(1, min(100, steps // 5))

    def factor(step: int) -> float:
        return min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, steps - warm))))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def fit(
    model: CLIP, tower: nn.Module, heads: AttributeHeads, losses_of_batch: Callable, args: argparse.Namespace
) -> None:
    """Train `tower`, a part of the model or all of it, and the heads on the sum of the two losses of a new batch;
    write the checkpoint every 200 steps and at the end."""
    optimiser, schedule = make_optimiser([tower, heads], args.steps)
    meta = {"command": " ".join(["python", *sys.argv]), "seed": args.seed, "images": SCENES, "batch": BATCH}
    losses, began = [], time.time()
    for step in range(1, args.steps + 1):
        pair = losses_of_batch()
        optimiser.zero_grad()
        sum(pair).backward()
        nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        model.logit_scale.data.clamp_(max=math.log(100))
        losses.append([loss.item() for loss in pair])
        if step % 200 == 0 or step == args.steps:
            mean = np.mean(losses[-50:], 0).round(3).tolist()
            meta |= {"steps": step, "minutes": round((time.time() - began) / 60, 1), "losses": mean}
            print(f"step {step}/{args.steps} losses {mean} {meta['minutes']} min", flush=True)
            towers.save(args.out, model, meta)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    words = towers.Words()
    shown, pictures = sampling.draw_world(args.seed, SCENES)
    model = CLIP(vocab_size=len(words.ids), **ARCHITECTURE).to(memory_format=torch.channels_last)
    heads = AttributeHeads(ARCHITECTURE["embed_dim"])
    targets, flip = heads.targets(shown), can_flip(shown)
    rng, generator = random.Random(args.seed), torch.Generator().manual_seed(args.seed)

    def losses_of_batch() -> tuple[Tensor, Tensor]:
        chosen = np.array(rng.sample(range(len(shown)), BATCH))
        texts = batch_captions([shown[i] for i in chosen], rng)
        images = augment(pictures[chosen], flip[chosen], generator)
        with torch.autocast("cpu", torch.bfloat16):
            image, text = model.visual(images), towers.encode_text(model, words.encode(texts))
        same = torch.tensor([[a == b for b in texts] for a in texts])
        loss = contrastive_loss(image, text, model.logit_scale.exp(), same)
        return loss, heads(image, {k: v[chosen] for k, v in targets.items()})

    fit(model, model, heads, losses_of_batch, args)


def parse_args(about: str, steps: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the checkpoint (.npz)")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    train(parse_args(__doc__, 2600))
