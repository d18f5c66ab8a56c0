"""Trains the image tower of the demo's second CLIP, a ViT, on the features of its first CLIP's ResNet.

    python scripts/demo/distil.py --steps 1600 --seed 0 --out scripts/demo/tiny_vit.npz

made the committed checkpoint: the pre-training's 60,000 scenes drawn again in 4 minutes, 1,600 steps of 192 in 26
minutes, on two shared cores with bf16 instructions that ran tests besides (PyTorch 2.15). The text tower is the first
CLIP's, unchanged, so the two differ in their image towers alone. MaPLe needs a ViT; all other methods run on either
(config tiny_vit). On the demo it has zero-shot 45.7 %, and linear probes 28.7 / 44.4 / 57.5 % at 1 / 4 / 16 shots.

OpenAI's VisionTransformer: 64 px in patches of 8, 4 layers 192 wide with 3 heads, embedding 128. A view of a scene is
to have the features that the ResNet gives it, and the attribute heads of the pre-training must be able to read them.
`check.py --clip scripts/demo/tiny_vit.npz` judges the file, which has the format that `pretrain.py` describes.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import numpy as np
import torch
import torch.nn.functional as F
from clip.model import CLIP, VisionTransformer

from scripts.demo import pretrain
from scripts.demo.check import load_checkpoint
from scripts.lib.drawn import sampling
from scripts.lib.drawn.towers import encode_image
from scripts.lib.drawn.words import Words

ARCHITECTURE = pretrain.ARCHITECTURE | dict(vision_layers=4, vision_width=192, vision_patch_size=8)


def initialise(tower: VisionTransformer) -> None:
    """The weights of the layers as CLIP draws those of its text tower."""
    width, layers = tower.ln_post.weight.numel(), len(tower.transformer.resblocks)
    into = width**-0.5 * (2 * layers) ** -0.5  # of what is added to the residual stream
    for block in tower.transformer.resblocks:
        torch.nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
        torch.nn.init.normal_(block.attn.out_proj.weight, std=into)
        torch.nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        torch.nn.init.normal_(block.mlp.c_proj.weight, std=into)


class Views:
    """Random scenes in random views: scene numbers (B,) and images (B, 3, S, S)."""

    def __init__(self, scenes: list, pictures: np.ndarray, batch: int, seed: int) -> None:
        self.pictures, self.batch = pictures, batch
        self.can_flip = torch.tensor([scene.kind != "digit" for scene in scenes])
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = torch.randperm(len(self.pictures), generator=self.generator)[: self.batch]
        return chosen, pretrain.augment(self.pictures[chosen.numpy()], self.can_flip[chosen], self.generator)


def train(args: argparse.Namespace) -> None:
    """Draws the world, trains, and writes the checkpoint every 200 steps and at the end."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    teacher, _ = load_checkpoint(args.teacher)
    teacher.requires_grad_(False).to(memory_format=torch.channels_last)
    scenes, pictures = sampling.draw_world(args.seed, args.images)
    words, views = Words(), Views(scenes, pictures, args.batch, args.seed)
    model = CLIP(vocab_size=len(words.ids), **ARCHITECTURE)
    copy_text_tower(teacher, model, words)
    tower = model.visual
    initialise(tower)
    heads = pretrain.AttributeHeads(ARCHITECTURE["embed_dim"])
    targets = heads.targets(scenes)
    with torch.no_grad():  # dimensions that vary little between images count as much as the others
        spread = torch.cat([F.normalize(teacher.visual(views.draw()[1]), dim=-1) for _ in range(5)]).std(0)
    optimiser, schedule = pretrain.make_optimiser([tower, heads], args.lr, args.steps)
    meta = {"command": " ".join(["python", *sys.argv]), "seed": args.seed, "images": len(scenes), "batch": args.batch}
    losses, began = [], time.time()
    for step in range(1, args.steps + 1):
        chosen, images = views.draw()
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            with torch.no_grad():
                target = F.normalize(teacher.visual(images).float(), dim=-1)
            features = F.normalize(encode_image(tower, images).float(), dim=-1)
        distance = ((features - target) / spread).square().mean()
        second = heads(features, {k: v[chosen] for k, v in targets.items()})
        optimiser.zero_grad()
        (distance + second).backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append((distance.item(), second.item()))
        if step % 200 == 0 or step == args.steps:
            mean = np.mean(losses[-50:], 0).round(3).tolist()
            meta |= {"steps": step, "minutes": round((time.time() - began) / 60, 1), "losses": mean}
            print(f"step {step}/{args.steps} losses {mean} {meta['minutes']} min", flush=True)
            pretrain.save(args.out, model, words, meta)


def copy_text_tower(source: CLIP, target: CLIP, words: Words) -> None:
    """The source's parameters but the image tower's, of the token embedding the rows of `words`."""
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("visual.")}
    state["token_embedding.weight"] = state["token_embedding.weight"][words.ids]
    missing, unexpected = target.load_state_dict(state, strict=False)
    assert not unexpected and all(key.startswith("visual.") for key in missing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, default=Path(__file__).with_name("tiny_clip.npz"))
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    train(parser.parse_args())
