"""PromptSRC's weighted average of a module's parameters over the epochs."""

import torch
from torch import Tensor, nn


class RunningAverage(nn.Module):
    """The sum so far of weight times parameters of `module`, in buffers, so that checkpoints hold it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name, parameter in module.named_parameters():
            self.register_buffer(name.replace(".", "_"), torch.zeros_like(parameter))

    @torch.no_grad()
    def add(self, module: nn.Module, weight: float) -> None:
        for name, parameter in module.named_parameters():
            self.get_buffer(name.replace(".", "_")).add_(weight * parameter)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            parameter.copy_(self.get_buffer(name.replace(".", "_")))


def gaussian_weights(count: int, mean: float, std: float) -> Tensor:
    """(count,) the density of N(mean, std^2) at 1, ..., count, normalised to sum 1; fp64."""
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    return torch.softmax(-0.5 * ((steps - mean) / std) ** 2, dim=0)
