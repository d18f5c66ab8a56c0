"""Train the image tower of the demo's second CLIP, a ViT, on the features of the first one's ResNet. See README.md.

python scripts/demo/pretraining/distil.py --out scripts/demo/tiny_vit.npz [--steps 1600] [--seed 0]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import scripts.lib.command  # noqa: F401  first: the imports below take seconds

import torch
import torch.nn.functional as F
from clip.model import CLIP, VisionTransformer
from torch import Tensor

from scripts.demo.pretraining import sampling, towers
from scripts.demo.pretraining.pretrain import (
    ARCHITECTURE,
    BATCH,
    SCENES,
    AttributeHeads,
    augment,
    can_flip,
    fit,
    parse_args,
)

TEACHER = Path(__file__).parents[1] / "tiny_clip.npz"
WITH_VIT = ARCHITECTURE | dict(vision_layers=4, vision_width=192, vision_patch_size=8)


def initialise(tower: VisionTransformer) -> None:
    """Draw the weights of the layers as CLIP draws those of its text tower."""
    width, layers = tower.ln_post.weight.numel(), len(tower.transformer.resblocks)
    into = width**-0.5 * (2 * layers) ** -0.5  # for layers whose output is added to the residual stream
    for block in tower.transformer.resblocks:
        torch.nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
        torch.nn.init.normal_(block.attn.out_proj.weight, std=into)
        torch.nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        torch.nn.init.normal_(block.mlp.c_proj.weight, std=into)


def copy_text_tower(source: CLIP, target: CLIP, token_ids: list[int]) -> None:
    """Copy all but the image tower; of the token embedding, only the rows of `token_ids`."""
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("visual.")}
    state["token_embedding.weight"] = state["token_embedding.weight"][token_ids]
    missing, unexpected = target.load_state_dict(state, strict=False)
    assert not unexpected and all(key.startswith("visual.") for key in missing)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    teacher = towers.load(TEACHER)[0].to(memory_format=torch.channels_last)
    shown, pictures = sampling.draw_world(args.seed, SCENES)
    flip, generator = can_flip(shown), torch.Generator().manual_seed(args.seed)
    ids = towers.Words().ids
    model = CLIP(vocab_size=len(ids), **WITH_VIT)
    copy_text_tower(teacher, model, ids)
    initialise(model.visual)
    heads = AttributeHeads(WITH_VIT["embed_dim"])
    targets = heads.targets(shown)

    def views() -> tuple[Tensor, Tensor]:
        """Numbers of scenes (B,) and their images (B, 3, S, S)."""
        chosen = torch.randperm(len(pictures), generator=generator)[:BATCH]
        return chosen, augment(pictures[chosen.numpy()], flip[chosen], generator)

    def teach(images: Tensor) -> Tensor:
        with torch.no_grad():
            return F.normalize(teacher.visual(images).float(), dim=-1)

    # Dimensions that vary little between images shall count as much as the others.
    spread = torch.cat([teach(views()[1]) for _ in range(5)]).std(0)

    def losses_of_batch() -> tuple[Tensor, Tensor]:
        chosen, images = views()
        with torch.autocast("cpu", torch.bfloat16):
            target, features = teach(images), towers.encode_image(model.visual, images)
        distance = ((F.normalize(features.float(), dim=-1) - target) / spread).square().mean()
        return distance, heads(features, {k: v[chosen] for k, v in targets.items()})

    fit(model, model.visual, heads, losses_of_batch, args)


if __name__ == "__main__":
    train(parse_args(__doc__, 1600))
