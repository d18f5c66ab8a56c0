"""Plain vision transformers of timm: prompts among their tokens, and updates of their linear maps.

timm's own modules compute everything; nothing in them is changed, so a tower may serve several threads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

TRUNKS = ("VisionTransformer", "Eva")
STEPS = ("patch_embed", "_pos_embed", "norm_pre", "blocks", "norm", "forward_head")  # of `prompted`
ATTENTIONS = ("Attention", "AttentionRope", "EvaAttention")
PACKED, SEPARATE = {"qkv.weight": "qkv"}, {"q_proj.weight": "q", "k_proj.weight": "k", "v_proj.weight": "v"}


def why_not_plain(trunk: nn.Module) -> str:
    """The reason why a trunk of timm takes no tuning; "" for a plain vision transformer."""
    name = type(trunk).__name__
    if name not in TRUNKS:
        return f"it is timm's {name}, which is no plain vision transformer"
    missing = [step for step in STEPS if not hasattr(trunk, step)]
    if missing:
        return f"it is the {name} of another version of timm, without {missing[0]}; 1.0.16 has it"
    stem = getattr(trunk.patch_embed, "backbone", None)
    if stem is not None and type(stem).__name__ != "ConvStem":
        return f"it is a hybrid: timm's {name} behind convolutional stages ({type(stem).__name__})"
    for block in trunk.blocks:
        attention: Any = getattr(block, "attn", None)
        if type(attention).__name__ not in ATTENTIONS:
            return f"it is timm's {name} with blocks of the kind {type(block).__name__}"
        square = {key: (len(part) * trunk.embed_dim, trunk.embed_dim) for key, part in parts_of(attention).items()}
        if any(attention.get_parameter(key).shape != shape for key, shape in square.items()):
            return f"it is timm's {name}, whose queries, keys and values are not as wide as its tokens"
    return ""


def parts_of(attention: nn.Module) -> dict[str, str]:
    """The names of an attention's weights of queries, keys and values, with the part that each holds (layers.PARTS)."""
    return PACKED if attention.qkv is not None else SEPARATE


def prompted(trunk: nn.Module, image: Tensor, prompts: Sequence[Tensor]) -> Tensor:
    """What the trunk returns for images (B, 3, H, W) if the prompts (M, W) of its first layers follow the patches.

    Before layer i the i-th prompt replaces the tokens that the last layer returned for the one before; pooling does not
    see them. Rotary positions leave them as they are, like the class token.
    """
    embedded = trunk._pos_embed(trunk.patch_embed(image))
    x, rope = embedded if isinstance(embedded, tuple) else (embedded, None)  # (B, L, W); rope of Eva
    count = x.shape[1]
    prompts = [prompt.to(x.dtype).expand(x.shape[0], -1, -1) for prompt in prompts]
    x = trunk.norm_pre(torch.cat([x, prompts[0]], dim=1))
    for i, block in enumerate(trunk.blocks):
        if 0 < i < len(prompts):
            x = torch.cat([x[:, :count], prompts[i]], dim=1)
        if rope is None:
            x = block(x)
        else:
            x = block(x, rope=unrotated(rope[i] if getattr(trunk, "rope_mixed", False) else rope, x.shape[1] - count))
    return trunk.forward_head(trunk.norm(x[:, :count]))


def unrotated(rope: Tensor, count: int) -> Tensor:
    """Rotary positions (..., L, 2 D), sines first, with those of `count` further tokens that are not turned."""
    sines, cosines = (rope.new_full((*rope.shape[:-2], count, rope.shape[-1] // 2), value) for value in (0, 1))
    return torch.cat([rope, torch.cat([sines, cosines], dim=-1)], dim=-2)


class ReplacedLinears(TorchFunctionMode):
    """Within it, and in this thread, other functions compute the linear maps with some weights.

    Args:
        functions: of x, weight and bias, by the `id` of the weight.
    """

    def __init__(self, functions: Mapping[int, Callable[..., Tensor]]) -> None:
        super().__init__()
        self.functions = functions

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function is F.linear:
            return self.linear(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return self.functions.get(id(weight), F.linear)(input, weight, bias)


def last_linear(tower: nn.Module) -> nn.Linear | None:
    """The linear map that ends open_clip's tower of a timm model; None if it ends with something else."""
    head = dict(tower.head.named_children())
    if not head:
        last = tower.trunk.get_classifier()
    elif "mlp" in head:
        last = head["mlp"].fc2
    else:
        last = head.get("proj")
    return last if isinstance(last, nn.Linear) else None
