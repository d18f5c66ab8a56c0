"""Image towers behind one interface: OpenAI's ResNet, vision transformers, and those that open_clip builds."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import config, timm_vit
from .layers import UNTUNED, AttentionPool, LayerNorm, QueryPool, Tuning, blocks
from .resnet import AttentionPool2d, stage


class ImageTower(nn.Module):
    """From images (B, 3, H, W) to features.

    Attributes:
        width, depth: W, and the number of layers that a tuning can change.
        not_tunable, no_local_features, no_projection: the reason why it takes no tuning, has no local features, or does
            not end with a linear map; else "".
    """

    width = depth = 0
    not_tunable = no_local_features = no_projection = ""

    def forward(self, image: Tensor, tuning: Tuning = UNTUNED) -> Tensor:
        """Features (B, E), not normalised."""
        raise NotImplementedError

    def local_features(self, image: Tensor) -> Tensor:
        """(B, L, E): a feature for each cell of the tower's last grid, not normalised."""
        raise NotImplementedError

    def unprojected(self, image: Tensor) -> Tensor:
        """(B, W): the features before the projection."""
        raise NotImplementedError

    def projection_weights(self) -> tuple[Tensor, Tensor | None]:
        """The projection (W, E) and its bias (E,), or None for no bias."""
        raise NotImplementedError

    def attention_weights(self, layer: int) -> dict[str, str]:
        """The names of a layer's weights of queries, keys and values, with the part that each holds (layers.PARTS)."""
        raise NotImplementedError


class VisionTransformer(ImageTower):
    """A vision transformer as `config.ViT` describes it."""

    def __init__(self, options: config.ViT) -> None:
        super().__init__()
        width, eps = options.transformer.width, options.transformer.eps
        rows, columns = (size // patch for size, patch in zip(options.image_size, options.patch_size))
        self.options = options
        self.conv1 = nn.Conv2d(3, width, options.patch_size, options.patch_size, bias=options.patch_bias)
        if options.class_token:
            self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(options.class_token + rows * columns, width))
        self.ln_pre = LayerNorm(width, eps) if options.pre_norm else nn.Identity()
        self.blocks = blocks(options.transformer)
        pooled = options.embed_dim if isinstance(options, config.CoCaViT) else width
        self.ln_post = LayerNorm(pooled, eps)
        if options.pool == "attention":
            self.pool = AttentionPool(options.transformer)
        elif isinstance(options, config.CoCaViT):
            self.pool = QueryPool(options.transformer, options.embed_dim, options.pool_heads)
        self.projection = nn.Parameter(torch.empty(pooled, options.embed_dim)) if options.projection else None
        self.width, self.depth = width, options.transformer.layers
        if options.pool != "token":
            self.no_local_features = f"its features are pooled by {options.pool}, so its patches have none of their own"
        if self.projection is None:
            self.no_projection = "its features are those of the last layer"

    def forward(self, image: Tensor, tuning: Tuning = UNTUNED) -> Tensor:
        return self._project(self._pool(self._tokens(image, tuning)))

    def unprojected(self, image: Tensor) -> Tensor:
        return self._pool(self._tokens(image))

    def projection_weights(self) -> tuple[Tensor, Tensor | None]:
        return self.projection, None

    def attention_weights(self, layer: int) -> dict[str, str]:
        return {f"blocks.{layer}.attn.in_proj_weight": "qkv"}

    def local_features(self, image: Tensor) -> Tensor:
        """The patches, projected like the class token."""
        return self._project(self.ln_post(self._tokens(image)[:, 1:]))

    def _tokens(self, image: Tensor, tuning: Tuning = UNTUNED) -> Tensor:
        """(B, 1 + L, W), the class token first if there is one; without prompts."""
        x = self.conv1(image.type(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)  # (B, L, W)
        if self.options.class_token:
            x = torch.cat([self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
        x = x + self.positional_embedding.to(x.dtype)
        count = x.shape[1]
        prompts = [prompt.to(x.dtype).expand(x.shape[0], -1, -1) for prompt in tuning.prompts]  # (B, M, W)
        x = self.ln_pre(torch.cat([x, *prompts[:1]], dim=1) if prompts else x)
        for i, block in enumerate(self.blocks):
            if 0 < i < len(prompts):
                x = torch.cat([x[:, :count], prompts[i]], dim=1)
            x = block(x, update=tuning.update(i))
        return x[:, :count]

    def _pool(self, x: Tensor) -> Tensor:
        """(B, W)"""
        if self.options.pool == "attention":
            return self.pool(self.ln_post(x))
        if self.options.pool == "query":
            return self.ln_post(self.pool(x))
        if self.options.pool == "token":  # only this token need be normalised
            return self.ln_post(x[:, 0])
        x = self.ln_post(x) if self.options.norm_first else x
        x = x[:, self.options.class_token :].mean(1)
        return x if self.options.norm_first else self.ln_post(x)

    def _project(self, x: Tensor) -> Tensor:
        return x if self.projection is None else x @ self.projection


class ResNet(ImageTower):
    """OpenAI's ResNet: three convolutions as its stem, four stages, and an attention pool."""

    not_tunable = "it is a ResNet"

    def __init__(self, options: config.ResNet) -> None:
        super().__init__()
        width, layers = options.width, options.layers
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.layer1 = stage(width, width, layers[0], stride=1)
        self.layer2 = stage(4 * width, 2 * width, layers[1], stride=2)
        self.layer3 = stage(8 * width, 4 * width, layers[2], stride=2)
        self.layer4 = stage(16 * width, 8 * width, layers[3], stride=2)
        self.attnpool = AttentionPool2d(options.image_size[0] // 32, 32 * width, options.heads, options.embed_dim)

    def forward(self, image: Tensor, tuning: Tuning = UNTUNED) -> Tensor:
        return self.attnpool(self._grid(image))

    def local_features(self, image: Tensor) -> Tensor:
        """Each cell queries the attention pool, as the mean does for the global feature (PLOT)."""
        return self.attnpool.c_proj(self.attnpool.attend(self._grid(image)))[:, 1:]

    def unprojected(self, image: Tensor) -> Tensor:
        return self.attnpool.attend(self._grid(image), queries=1)[:, 0]

    def projection_weights(self) -> tuple[Tensor, Tensor | None]:
        return self.attnpool.c_proj.weight.T, self.attnpool.c_proj.bias

    def _grid(self, image: Tensor) -> Tensor:
        """(B, W, h, w): the input of the attention pool."""
        x = image.type(self.conv1.weight.dtype)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class OpenClipTower(ImageTower):
    """An image tower of open_clip, called as a whole unless it has prompts. In timm's transformers that read the class
    token (EVA and others), local features are the patches put through the same head."""

    def __init__(self, options: config.OpenClipTower, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        trunk = getattr(tower, "trunk", None)
        name = type(tower if trunk is None else trunk).__name__
        reads_token = trunk is not None and getattr(trunk, "global_pool", "") == "token"
        if not reads_token or getattr(trunk, "num_prefix_tokens", 0) != 1:
            self.no_local_features = f"it is open_clip's {name}, whose features are not read at a class token"
        if trunk is None:
            self.not_tunable = f"it is open_clip's {name}, whose layers are not this project's"
            self.no_projection = f"it is open_clip's {name}, which is called as a whole"
            return
        self.not_tunable = timm_vit.why_not_plain(trunk)
        if not self.not_tunable:
            self.width, self.depth = trunk.embed_dim, len(trunk.blocks)
        if timm_vit.last_linear(tower) is None:
            self.no_projection = f"it is timm's {name}, whose features do not come from a linear map"

    def forward(self, image: Tensor, tuning: Tuning = UNTUNED) -> Tensor:
        image = image.type(next(self.tower.parameters()).dtype)
        if not tuning:
            return self.tower(image)
        with timm_vit.ReplacedLinears(self._updated(tuning)):
            if not tuning.prompts:
                return self.tower(image)
            return self.tower.head(timm_vit.prompted(self.tower.trunk, image, tuning.prompts))

    def local_features(self, image: Tensor) -> Tensor:
        trunk = self.tower.trunk
        tokens = trunk.forward_features(image.type(next(self.tower.parameters()).dtype))[:, 1:]  # (B, L, W)
        pooled = trunk.forward_head(tokens.flatten(0, 1).unsqueeze(1))  # each patch in the class token's place
        return self.tower.head(pooled).unflatten(0, tokens.shape[:2])

    def unprojected(self, image: Tensor) -> Tensor:
        taken: list[Tensor] = []
        last: Any = timm_vit.last_linear(self.tower)

        def take(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            taken.append(x)
            return F.linear(x, weight, bias)

        with timm_vit.ReplacedLinears({id(last.weight): take}):
            self.forward(image)
        return taken[0]

    def projection_weights(self) -> tuple[Tensor, Tensor | None]:
        last: Any = timm_vit.last_linear(self.tower)
        return last.weight.T, last.bias

    def attention_weights(self, layer: int) -> dict[str, str]:
        attention = self.tower.trunk.blocks[layer].attn
        prefix = f"tower.trunk.blocks.{layer}.attn."
        return {prefix + name: part for name, part in timm_vit.parts_of(attention).items()}

    def _updated(self, tuning: Tuning) -> dict[int, Callable[..., Tensor]]:
        """For each weight with an update, by its `id`, the function that computes its linear map."""
        return {
            id(self.get_parameter(name)): partial(update, part=part)  # type: ignore[call-arg]
            for layer, update in enumerate(tuning.updates)
            for name, part in self.attention_weights(layer).items()
        }


def build_image_tower(options: config.ViT | config.ResNet | config.OpenClipTower) -> ImageTower:
    """The tower of a config, its weights not yet set."""
    if isinstance(options, config.ViT):
        return VisionTransformer(options)
    if isinstance(options, config.ResNet):
        return ResNet(options)
    from .open_clip_models import build_tower

    with torch.device("cpu"):  # it may have tables besides its weights
        return OpenClipTower(options, build_tower(options))
