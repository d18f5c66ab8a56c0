"""Train the image tower of the demo's second CLIP, a ViT, on the features of the first one's ResNet.

    python scripts/demo/distil.py --steps 1600 --seed 0 --out scripts/demo/tiny_vit.npz

This made the committed checkpoint: the 60,000 scenes of the pre-training drawn again in 4 minutes, then 1,600 steps of
192 in 26 minutes, on two shared cores with bf16 instructions that also ran tests (PyTorch 2.15). The text tower is the
first CLIP's, unchanged. MaPLe needs a ViT; all other methods run on either CLIP (config tiny_vit). On the demo, this
one reaches 45.7 % zero-shot, and 28.7 / 44.4 / 57.5 % with linear probes at 1 / 4 / 16 shots.

The architecture is OpenAI's VisionTransformer: 64 px in patches of 8, 4 layers, 192 wide, with 3 heads, and an
embedding of 128. The ViT learns to give each view of a scene the ResNet's features, and to let the attribute heads of
the pre-training classify them. `check.py --clip scripts/demo/tiny_vit.npz` evaluates the file, whose format is that of
`pretrain.py`.
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
    """Draw the weights of the layers as CLIP draws those of its text tower."""
    width, layers = tower.ln_post.weight.numel(), len(tower.transformer.resblocks)
    into = width**-0.5 * (2 * layers) ** -0.5  # for layers whose output is added to the residual stream
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
    """Draw the scenes, train, and write the checkpoint every 200 steps and at the end."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    teacher, _ = load_checkpoint(args.teacher)
    teacher.to(memory_format=torch.channels_last)
    scenes, pictures = sampling.draw_world(args.seed, args.images)
    words, views = Words(), Views(scenes, pictures, args.batch, args.seed)
    model = CLIP(vocab_size=len(words.ids), **ARCHITECTURE)
    copy_text_tower(teacher, model, words)
    tower = model.visual
    initialise(tower)
    heads = pretrain.AttributeHeads(ARCHITECTURE["embed_dim"])
    targets = heads.targets(scenes)
    with torch.no_grad():  # dimensions that vary little between images shall count as much as the others
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
    """Copy all but the image tower; of the token embedding, only the rows of `words`."""
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("visual.")}
    state["token_embedding.weight"] = state["token_embedding.weight"][words.ids]
    missing, unexpected = target.load_state_dict(state, strict=False)
    assert not unexpected and all(key.startswith("visual.") for key in missing)


if __name__ == "__main__":
    parser = pretrain.training_parser(__doc__, steps=1600)
    parser.add_argument("--teacher", type=Path, default=Path(__file__).with_name("tiny_clip.npz"))
    train(parser.parse_args())
