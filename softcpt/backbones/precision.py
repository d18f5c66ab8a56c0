"""The precisions of a run."""

import contextlib
import threading
from collections.abc import Iterator

import torch

TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
AMP = "amp"
PRECISIONS = ("fp32", AMP, *TYPES, *(f"{AMP}-{name}" for name in TYPES))


class Precision:
    """`fp32`; `amp`: autocast in bf16, on a GPU without it in fp16; `amp-fp16`, `amp-bf16`: the same with the type
    fixed, as the files of a run name it; `fp16`, `bf16`: autocast in that type. In half precision the frozen towers are
    stored in it; autocast would convert their weights in every forward pass. Learned parameters are fp32 in all of
    them.

    Args:
        exact: with `amp` the towers are stored in fp32, for a method that reads their weights.

    Attributes:
        name: of the precision; `amp` is never without its type.
        half: the type of autocast, None for fp32.
        stored: the type in which the frozen towers are stored, None for fp32.
        scaler: the gradient scaler for fp16 on a GPU, where small gradients underflow; else None.
    """

    def __init__(self, name: str, device: torch.device, exact: bool = False) -> None:
        self.name, self.device = on_device(name, device), device
        self.half = TYPES.get(self.name.removeprefix(f"{AMP}-"))
        self.stored = None if exact and name.startswith(AMP) else self.half
        scaled = self.half == torch.float16 and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type) if scaled else None

    @staticmethod
    def default_device(gpu: bool = True) -> torch.device:
        """A GPU if there is one and it may be used, else the CPU."""
        return torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")

    @property
    def earlier_name(self) -> str:
        """`name` as versions called it in which `amp` was one type per device; keys of cached features have it."""
        return AMP if self.name == as_earlier(AMP, self.device) else self.name

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """A context in which CLIP is called: autocast, or for fp32 on a GPU convolutions that are not in TF32."""
        exact = self.half is None and self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
            with EXACT_CONVOLUTIONS if exact else contextlib.nullcontext():
                yield


class ExactConvolutions:
    """A context in which cuDNN computes convolutions in fp32; by default PyTorch lets it take TF32, of 10 bits. The
    switch is one for all threads: it is put back when the last of them has left."""

    def __init__(self) -> None:
        self.lock, self.within, self.switched = threading.Lock(), 0, False

    def __enter__(self) -> None:
        with self.lock:
            self.within += 1
            if self.within == 1:
                try:
                    self.switched = torch.backends.cudnn.allow_tf32
                except RuntimeError:  # the caller has chosen a precision of each operation, by PyTorch's newer switches
                    self.switched = False
                if self.switched:
                    torch.backends.cudnn.allow_tf32 = False

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.within -= 1
            if self.switched and not self.within:
                torch.backends.cudnn.allow_tf32 = True


EXACT_CONVOLUTIONS = ExactConvolutions()


def on_device(name: str, device: torch.device) -> str:
    """A precision with the type that `amp` is on a device: bf16 where it is native, else fp16."""
    if name != AMP:
        return name
    native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return f"{AMP}-bf16" if native else f"{AMP}-fp16"


def as_earlier(name: str, device: torch.device) -> str:
    """A precision from a file in which `amp` is without its type: it was fp16 on any GPU."""
    return name if name != AMP else f"{AMP}-fp16" if device.type == "cuda" else f"{AMP}-bf16"


def agree(one: str, other: str) -> bool:
    """Whether two precisions are the same, where one may leave `amp` without its type."""
    return one == other or AMP in (one, other) and one.startswith(AMP) and other.startswith(AMP)
