"""The four precisions of a run."""

import torch
from torch import Tensor

PRECISIONS = ("fp32", "amp", "fp16", "bf16")


class Precision:
    """`fp32`; `amp`: autocast in fp16 on a GPU, in bf16 on a CPU; `fp16`, `bf16`: autocast in that type, with the
    frozen towers stored in it. Learned parameters are fp32 in all of them.

    Attributes:
        half: the type of autocast, None for fp32.
        stored: the type in which the frozen towers are stored, None for fp32.
        scaler: the gradient scaler for fp16 on a GPU, where small gradients underflow; else None.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        amp = torch.float16 if device.type == "cuda" else torch.bfloat16
        self.name, self.device = name, device
        self.half = {"fp32": None, "amp": amp, "fp16": torch.float16, "bf16": torch.bfloat16}[name]
        self.stored = self.half if name in ("fp16", "bf16") else None
        scaled = self.half == torch.float16 and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type) if scaled else None

    @staticmethod
    def default_device(gpu: bool = True) -> torch.device:
        """A GPU if there is one and it may be used, else the CPU."""
        return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. The host does not wait for a copy to CUDA: it copies from memory that is pinned first."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
