"""Fixtures of the tests of several methods."""

import pytest
import torch

from softcpt.backbones import config
from softcpt.backbones.image import ResNet


@pytest.fixture
def resnet():
    """The image tower of a tiny ResNet."""
    torch.manual_seed(0)
    tower = ResNet(config.ResNet((1, 1, 1, 1), 4, 2, (64, 64), 8)).eval().requires_grad_(False)
    torch.nn.init.normal_(tower.attnpool.positional_embedding)
    return tower
