"""Helpers for models: freezing, counting, initialising, partial loading."""

import logging
from collections.abc import Callable, Iterable

import torch
from torch import nn

from .checkpoint import load_checkpoint
from .tools import describe_choices

__all__ = [
    "count_num_param",
    "init_network_weights",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
]

logger = logging.getLogger(__name__)


def open_all_layers(model: nn.Module) -> None:
    """Put the whole model in training mode with gradients."""
    model.train()
    model.requires_grad_(True)


def open_specified_layers(model: nn.Module, open_layers: str | list[str]) -> None:
    """Train only the children named in `open_layers`; freeze the other children and put them in eval mode.

    Raises ValueError when a name is not a child of `model`.
    """
    model = model.module if isinstance(model, nn.DataParallel) else model
    wanted = [open_layers] if isinstance(open_layers, str) else list(open_layers)
    children = dict(model.named_children())
    for name in wanted:
        if name not in children:
            raise ValueError(f"open_layers: the model has no layer {name!r}; {describe_choices(name, children)}")
    for name, child in children.items():
        child.train(name in wanted)
        child.requires_grad_(name in wanted)


def count_num_param(model: nn.Module | None = None, params: Iterable | None = None) -> int:
    """Number of scalars in a model's parameters, or in an iterable of tensors or optimiser groups."""
    if model is None and params is None:
        raise ValueError("count_num_param needs a model or params")
    total = 0
    for entry in model.parameters() if model is not None else params:
        tensors = entry["params"] if isinstance(entry, dict) else entry
        total += sum(t.numel() for t in ([tensors] if isinstance(tensors, torch.Tensor) else tensors))
    return total


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Copy into `model` the tensors of a checkpoint whose name and shape fit; log what was left out.

    The prefix "module." is ignored; the file is a checkpoint with "state_dict" or a bare state dict.
    """
    checkpoint = load_checkpoint(weight_path)
    saved = {key.removeprefix("module."): tensor for key, tensor in checkpoint.get("state_dict", checkpoint).items()}
    own = model.state_dict()
    fitting = {key: tensor for key, tensor in saved.items() if key in own and own[key].shape == tensor.shape}
    model.load_state_dict({**own, **fitting})
    discarded = [key for key in saved if key not in fitting]
    if not fitting:
        logger.warning("No weight of %s fits the model: check the names (%s ...)", weight_path, discarded[:3])
    else:
        logger.info("Loaded %d weights from %s; left out: %s", len(fitting), weight_path, discarded or "none")


def _conv_or_linear_initialiser(init_type: str, gain: float) -> Callable[[torch.Tensor], torch.Tensor]:
    initialisers = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain=gain),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain=gain),
    }
    if init_type not in initialisers:
        raise ValueError(f"init_type: unknown name {init_type!r}; {describe_choices(init_type, initialisers)}")
    return initialisers[init_type]


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Initialise convolutions and linear layers by `init_type`, their biases with 0, normalisation layers with 1, 0."""
    initialise = _conv_or_linear_initialiser(init_type, gain)

    def visit(module: nn.Module) -> None:
        kind = type(module).__name__
        weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
        if not isinstance(weight, torch.Tensor):
            return
        if "Conv" in kind or "Linear" in kind:
            initialise(weight.data)
        elif "BatchNorm" in kind or "InstanceNorm" in kind:
            nn.init.constant_(weight.data, 1.0)
        else:
            return
        if isinstance(bias, torch.Tensor):
            nn.init.constant_(bias.data, 0.0)

    model.apply(visit)
