"""Towers whose layers are compiled by torch.compile."""

import torch
from torch import nn

from .layers import ACTIVATIONS, Block

KEY = "TRAIN.COMPILE"


def compile_blocks(model: nn.Module, device: torch.device) -> None:
    """Compile, at the first call, what follows the attention in each layer of a CLIP's towers. Names and weights stay.

    The layers of a tower share their graphs, one for steps with a gradient and one without, for any number of tokens.

    Raises:
        ValueError: no tower has this project's layers; or torch.compile does not work here, on this device.
    """
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    if not blocks:
        raise ValueError(f"{KEY}: True, but neither tower of this CLIP has layers that it compiles; set it to False")
    try:
        torch.compile(_trial)(torch.ones(2, device=device))
    except Exception as error:  # of many types, by what is missing
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(
            f"{KEY}: True, but torch.compile does not work here ({reason}); set it to False, or install what it needs: "
            "on a CPU a C++ compiler, on a GPU Triton"
        ) from error
    rest = torch.compile(Block.plain_rest, dynamic=True)
    for block in blocks:
        block.compiled_rest = rest
        if block.mlp.activation is ACTIVATIONS["quick_gelu"]:
            block.mlp.activation = _quick_gelu  # whose operations the compiler fuses


def _quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * (1.702 * x).sigmoid()


def _trial(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
