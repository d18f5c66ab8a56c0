"""What autocast does on a GPU, for the device of second_device.py."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_map

# What CUDA's autocast computes in half precision, and in fp32.
IN_HALF = (
    "linear", "matmul", "mm", "mv", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "conv1d", "conv2d", "conv3d", "prelu",
    "scaled_dot_product_attention",
)  # fmt: skip
IN_FLOAT = (
    "acos", "asin", "cosh", "exp", "expm1", "log", "log10", "log1p", "log2", "pow", "reciprocal", "rsqrt", "sinh",
    "softplus", "tan", "layer_norm", "group_norm", "norm", "linalg_vector_norm", "cosine_similarity", "cdist", "dist",
    "kl_div", "mse_loss", "l1_loss", "nll_loss", "smooth_l1_loss", "binary_cross_entropy_with_logits", "cumsum",
    "cumprod", "prod", "sum", "softmax", "log_softmax",
)  # fmt: skip


def rules(name: str) -> list[torch.library.Library]:
    """Give the device `name` these rules, which are not those of a CPU. They last as long as what is returned."""
    others = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    others.fallback(torch.library.fallthrough_kernel)
    own = torch.library.Library("aten", "IMPL")
    for names, dtype in ((IN_HALF, lambda: torch.get_autocast_dtype(name)), (IN_FLOAT, lambda: torch.float32)):
        for packet in (getattr(torch.ops.aten, operation) for operation in names):
            for overload in packet.overloads():
                if "out" not in overload and "names" not in overload and "dimname" not in overload.lower():
                    operation = getattr(packet, overload)
                    own.impl(operation, functools.partial(_cast, name, dtype, operation), "AutocastPrivateUse1")
    return [others, own]


def _cast(name: str, dtype: Callable[[], torch.dtype], operation: Any, *args: Any, **kwargs: Any) -> Any:
    def cast(value: Any) -> Any:
        here = isinstance(value, torch.Tensor) and value.device.type == name
        return value.to(dtype()) if here and value.is_floating_point() and value.dtype != torch.double else value

    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        return operation(*tree_map(cast, args), **tree_map(cast, kwargs))
