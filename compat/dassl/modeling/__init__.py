"""Registries of networks by name. Methods of the family bring their own models, so only an MLP head is registered."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from dassl.utils import Registry, check_availability
from torch import nn

BACKBONE_REGISTRY = Registry("BACKBONE")
HEAD_REGISTRY = Registry("HEAD")

_ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}

logger = logging.getLogger(__name__)


class Backbone(nn.Module):
    """A feature extractor; subclasses set `self._out_features`, the width of what `forward` returns."""

    @property
    def out_features(self) -> int | None:
        return self.__dict__.get("_out_features")


class MLP(nn.Module):
    """(B, D) -> (B, H): linear layers, each with batch norm, activation and dropout as asked."""

    def __init__(
        self,
        in_features: int = 2048,
        hidden_layers: int | Sequence[int] = (),
        activation: str = "relu",
        bn: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [hidden_layers] if isinstance(hidden_layers, int) else list(hidden_layers)
        if not widths:
            raise ValueError("MODEL.HEAD.HIDDEN_LAYERS: an MLP head needs at least one width")
        check_availability(activation, _ACTIVATIONS, key="MODEL.HEAD.ACTIVATION")
        layers: list[nn.Module] = []
        for width_in, width in zip([in_features, *widths], widths):
            layers.append(nn.Linear(width_in, width))
            if bn:
                layers.append(nn.BatchNorm1d(width))
            layers.append(_ACTIVATIONS[activation](inplace=True))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        self.mlp = nn.Sequential(*layers)
        self.out_features = widths[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(x)


@HEAD_REGISTRY.register()
def mlp(**kwargs: Any) -> MLP:
    """An MLP head."""
    return MLP(**kwargs)


def _build(registry: Registry, key: str, name: str, verbose: bool, kwargs: dict[str, Any]) -> nn.Module:
    check_availability(name, registry.registered_names(), key=key)
    if verbose:
        logger.info("%s: %s", key, name)
    return registry.get(name)(**kwargs)


def build_backbone(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """The registered backbone `name`, called with `kwargs`; ValueError naming the key when it is unknown."""
    return _build(BACKBONE_REGISTRY, "MODEL.BACKBONE.NAME", name, verbose, kwargs)


def build_head(name: str, verbose: bool = True, **kwargs: Any) -> nn.Module:
    """The registered head `name`, called with `kwargs`; ValueError naming the key when it is unknown."""
    return _build(HEAD_REGISTRY, "MODEL.HEAD.NAME", name, verbose, kwargs)
