"""The precisions of a run."""

import torch

TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
PRECISIONS = ("fp32", "amp", *TYPES)


class Precision:
    """`fp32`; `amp`: autocast in fp16 on a GPU, in bf16 on a CPU; `fp16`, `bf16`: autocast in that type. In half
    precision the frozen towers are stored in it; autocast would convert their weights in every forward pass. Learned
    parameters are fp32 in all of them.

    Args:
        exact: with `amp` the towers are stored in fp32, for a method that reads their weights.

    Attributes:
        half: the type of autocast, None for fp32.
        stored: the type in which the frozen towers are stored, None for fp32.
        scaler: the gradient scaler for fp16 on a GPU, where small gradients underflow; else None.
    """

    def __init__(self, name: str, device: torch.device, exact: bool = False) -> None:
        amp = torch.float16 if device.type == "cuda" else torch.bfloat16
        self.name, self.device = name, device
        self.half = {"fp32": None, "amp": amp, **TYPES}[name]
        self.stored = None if exact and name == "amp" else self.half
        scaled = self.half == torch.float16 and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type) if scaled else None

    @staticmethod
    def default_device(gpu: bool = True) -> torch.device:
        """A GPU if there is one and it may be used, else the CPU."""
        return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)
