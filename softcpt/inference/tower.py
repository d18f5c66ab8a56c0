"""CLIP's image tower with the changes that a method learned."""

import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from softcpt.backbones import CLIP, Tuning, load_clip, published
from softcpt.backbones.precision import TYPES, Precision
from softcpt.files.texts import plain

from .export_checks import check_fit
from .exports import Export

logger = logging.getLogger(__name__)


class TunedTower(nn.Module):
    """Images (B, 3, H, W) to features (B, E), not normalised: CLIP's image tower with an export's changes.

    Args:
        visual: the tower, whose weights are overwritten with those of the export.
        export: its `weights`, `prompts` and `projection` are used.
    """

    def __init__(self, visual: nn.Module, export: Export) -> None:
        super().__init__()
        self.visual = visual
        own = visual.state_dict(keep_vars=True)
        for name, value in export.weights.items():
            own[name].data = value.to(own[name])
        weight, bias = export.projection or (None, None)
        self.register_buffer("weight", None if weight is None else weight.float())
        self.register_buffer("bias", None if bias is None else bias.float())
        for i, prompt in enumerate(export.prompts):
            self.register_buffer(f"prompt{i}", prompt)
        self.n_prompts = len(export.prompts)

    def forward(self, image: Tensor) -> Tensor:
        if self.weight is not None:
            x = self.visual.unprojected(image)  # (B, W)
            with torch.autocast(image.device.type, enabled=False):
                x = x.float() @ self.weight
                return x if self.bias is None else x + self.bias
        return self.visual(image, Tuning([getattr(self, f"prompt{i}") for i in range(self.n_prompts)]))


def load_tower(export: Export, path: Path, backbone: str | None, precision: Precision) -> TunedTower:
    """The image tower of an export's CLIP with its changes, in `precision`. `backbone` is the CLIP's name or file.

    Without `backbone` only a published CLIP, or the demo's, is loaded: no file says which other files are read.

    Raises ValueError for a CLIP other than the export's, FileNotFoundError if there is none.
    """
    own = export.backbone
    name = backbone or published(own["name"], own["sha256"])
    if not name:
        raise FileNotFoundError(
            f"{path} needs the CLIP {own['name']!r:.200} (SHA-256 {own['sha256']:.64}), which is not a published one: "
            "name its file with `backbone`, or scripts/predict.py ... MODEL.BACKBONE.NAME FILE"
        )
    try:
        clip = load_clip(name, precision.stored)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} needs the CLIP {own['name']} ({error}): name it with `backbone`") from error
    if not same_tower(clip, name, export, precision):
        raise ValueError(
            f"{path} is a classifier on {plain(own['name'])[:200]} (SHA-256 {own['sha256']}), not on {name} "
            f"(SHA-256 {clip.source['sha256']}): their image towers differ"
        )
    try:
        check_fit(export, clip)
    except ValueError as error:
        raise ValueError(f"{path} does not fit {name}: {error}") from error
    return TunedTower(clip.visual, export).eval()


def same_tower(clip: CLIP, name: str, export: Export, precision: Precision) -> bool:
    """Whether a CLIP's image tower is that of an export.

    Weights and activation are compared, whatever file they come from. An older export in fp16 or bf16 has the digest of
    the weights in that type.
    """
    own, half = export.backbone["image_digest"], TYPES.get(export.precision)
    if own == clip.image_digest or half is None:
        return own == clip.image_digest
    return own == (clip if half == precision.stored else load_clip(name, half)).stored_digest()
