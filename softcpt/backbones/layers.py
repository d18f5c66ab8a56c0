"""The layers of CLIP's transformers, with the parameter names of OpenAI's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..placement import on_cpu
from .config import Transformer


def on_accelerator(x: Tensor) -> bool:
    """Whether the host launches a kernel for each operation on x: then fewer operations are faster."""
    return not on_cpu(x)


class QuickGELU(torch.autograd.Function):
    """x sigmoid(1.702 x), which saves only x for the backward pass, not its sigmoid."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (1.702 * x).sigmoid_().mul_(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = (1.702 * x).sigmoid_()
        # d/dx = s (1 + 1.702 x (1 - s))
        return (1 - s).mul_(x).mul_(1.702).add_(1).mul_(s).mul_(grad)


class FrozenMLP(torch.autograd.Function):
    """c_proj(QuickGELU(c_fc(x))) for weights that are not trained, by fewer kernels: with y = 1.702 c_fc(x), QuickGELU
    is SiLU(y) / 1.702, products of matrices take factors at no cost, and in the gradient of x the two cancel."""

    @staticmethod
    def forward(ctx, x: Tensor, *weights: Tensor) -> Tensor:
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        weight_1, bias_1, weight_2, bias_2 = (weight.to(dtype) for weight in weights)
        y = torch.addmm(1.702 * bias_1, x.flatten(0, -2).to(dtype), weight_1.T, alpha=1.702)
        ctx.save_for_backward(y, weight_1, weight_2)
        return torch.addmm(bias_2, F.silu(y), weight_2.T, alpha=1 / 1.702).view(x.shape)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, weight_1, weight_2 = ctx.saved_tensors
        grad_y = torch.ops.aten.silu_backward(grad.flatten(0, -2) @ weight_2, y)
        return (grad_y @ weight_1).view(grad.shape), None, None, None, None


ACTIVATIONS = {"quick_gelu": QuickGELU.apply, "gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh")}


class LayerNorm(nn.LayerNorm):
    """Layer norm that computes in fp32 and returns its input's type."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).type(x.dtype)


# The matrices of one attention's packed weights, in this order, that a part's name stands for.
PARTS = {"q": slice(0, 1), "k": slice(1, 2), "v": slice(2, 3), "kv": slice(1, 3), "qkv": slice(0, 3)}

Update = Callable[[Tensor, Tensor, Tensor | None, str], Tensor]  # of x, weight, bias, part: instead of F.linear


@dataclass(frozen=True)
class Tuning:
    """What training adds to the layers of a tower, whose own weights never change; in most methods nothing.

    It is an argument of the towers; without it they are the pretrained ones.

    Attributes:
        prompts: (M, W) each. Before layer i, the i-th replaces the prompt tokens that the last layer returned. The
            first follows the patches of an image; a text already has it, as its context.
        updates: for each layer, the function that computes its queries, keys and values from x (..., W), the weights
            (n W, W) of a part, its bias (n W,) or None, and the part's name, one of PARTS.
    """

    prompts: Sequence[Tensor] = ()
    updates: Sequence[Update] = ()

    def __bool__(self) -> bool:
        return len(self.prompts) + len(self.updates) > 0

    def update(self, layer: int) -> Update | None:
        return self.updates[layer] if self.updates else None


UNTUNED = Tuning()


class Attention(nn.Module):
    """Multi-head self-attention; `in_proj_weight` (3 W, W) holds queries, keys and values, in this order."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def project(self, x: Tensor, part: str = "qkv", update: Update | None = None) -> Tensor:
        """(..., n W) of x (..., W): the queries ("q"), the keys and values ("kv") or all three, side by side."""
        width, which = self.in_proj_weight.shape[1], PARTS[part]
        rows = slice(which.start * width, which.stop * width)
        weight, bias = self.in_proj_weight[rows], self.in_proj_bias[rows]
        return F.linear(x, weight, bias) if update is None else update(x, weight, bias, part)

    def forward(
        self, x: Tensor, causal: bool = False, update: Update | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(B, L, W) of x (B, L, W), projected; see `attend`."""
        return self.out_proj(self.attend(x, causal, update, mask))

    def attend(
        self, x: Tensor, causal: bool = False, update: Update | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(B, L, W) of x (B, L, W); each token attends to all tokens, or if `causal` to those up to itself, or to those
        that a mask (B, 1, L or 1, L) allows."""
        qkv = self.project(x, "qkv", update)
        q, k, v = (
            part.transpose(1, 2) for part in qkv.unflatten(-1, (3, self.heads, -1)).unbind(2)
        )  # (B, H, L, W / H)
        x = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal and mask is None)
        return x.transpose(1, 2).flatten(2)


class MLP(nn.Module):
    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        fewer = not torch.compiler.is_compiling() and on_accelerator(x) and not self.c_fc.weight.requires_grad
        if fewer and self.activation is ACTIVATIONS["quick_gelu"]:
            return FrozenMLP.apply(x, self.c_fc.weight, self.c_fc.bias, self.c_proj.weight, self.c_proj.bias)
        return self.c_proj(self.activation(self.c_fc(x)))


class LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), both sums with a learned scale if `layer_scale`."""

    compiled_rest: Callable[..., Tensor] | None = None  # set by compile_blocks

    def __init__(self, options: Transformer) -> None:
        super().__init__()
        width = options.width
        self.ln_1, self.ln_2 = LayerNorm(width, options.eps), LayerNorm(width, options.eps)
        self.attn = Attention(width, options.heads)
        self.mlp = MLP(width, options.mlp_width, options.activation)
        self.ls_1, self.ls_2 = (LayerScale(width) if options.layer_scale else nn.Identity() for _ in range(2))

    def forward(
        self, x: Tensor, causal: bool = False, update: Update | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(B, L, W) of x (B, L, W)."""
        return self.rest(x, self.attn.attend(self.ln_1(x), causal, update, mask))

    def rest(self, x: Tensor, attended: Tensor) -> Tensor:
        """x (..., W) behind the layer, of x before it and what its attention read, not yet projected (..., W)."""
        if self.compiled_rest is None:
            return self.plain_rest(x, attended)
        rows = -1, x.shape[-1]
        # Of a tensor that PyTorch knows as a view, a compiled graph would depend on the shape of what it views.
        return self.compiled_rest(self, *(torch.ops.aten._unsafe_view(t, rows) for t in (x, attended))).view(x.shape)

    def plain_rest(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.ls_1(self.attn.out_proj(attended))
        return x + self.ls_2(self.mlp(self.ln_2(x)))


def blocks(options: Transformer) -> nn.ModuleList:
    return nn.ModuleList(Block(options) for _ in range(options.layers))


class AttentionPool(nn.Module):
    """SigLIP's head: a learned query attends to the patches, and an MLP follows."""

    def __init__(self, options: Transformer) -> None:
        super().__init__()
        width = options.width
        self.probe = nn.Parameter(torch.empty(1, 1, width))
        self.attn = Attention(width, options.heads)
        self.norm = LayerNorm(width, options.eps)
        self.mlp = MLP(width, options.mlp_width, options.activation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, W) of patches x (B, L, W)."""
        heads = self.attn.heads
        q = self.attn.project(self.probe, "q").unflatten(-1, (heads, -1)).transpose(1, 2).expand(x.shape[0], -1, -1, -1)
        k, v = self.attn.project(x, "kv").unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        x = self.attn.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # (B, 1, W)
        return (x + self.mlp(self.norm(x))).squeeze(1)


class QueryPool(nn.Module):
    """CoCa's head: a learned query attends to all tokens. Its further queries, which captions read, are left out."""

    def __init__(self, options: Transformer, embed_dim: int, heads: int) -> None:
        super().__init__()
        width = options.width
        self.query = nn.Parameter(torch.empty(1, embed_dim))
        self.attn = nn.MultiheadAttention(embed_dim, heads, kdim=width, vdim=width, batch_first=True)
        self.ln_q, self.ln_k = LayerNorm(embed_dim, options.eps), LayerNorm(width, options.eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, E) of tokens x (B, L, W)."""
        query, x = self.ln_q(self.query).expand(x.shape[0], 1, -1), self.ln_k(x)
        return self.attn(query, x, x, need_weights=False)[0].squeeze(1)
