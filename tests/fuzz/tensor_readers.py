"""Readers of checkpoints and CLIP weights, each with a naive reader that gives the right value."""

import io
import json
import struct
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import torch
from clip.model import CLIP as ClipPackage
from dassl.utils.checkpoint import load_checkpoint
from dassl.utils.resume import restore_checkpoint
from fuzz.hostile import ODD, Reader, damaged
from safetensors.torch import save

from softcpt.backbones import load_clip
from trainers.engine.checkpoints import read_learned

TENSOR = torch.arange(6.0).view(2, 3)


def optimiser(model):
    optim = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    return optim, torch.optim.lr_scheduler.CosineAnnealingLR(optim, 10)


def trained() -> dict:
    model = torch.nn.Linear(3, 2, bias=False)
    optim, schedule = optimiser(model)
    model(torch.ones(1, 3)).sum().backward()
    optim.step()
    schedule.step()
    model.weight.data = TENSOR.clone()
    states = {"optimizer": optim.state_dict(), "scheduler": schedule.state_dict()}
    return {"state_dict": model.state_dict(), "epoch": 1, **states}


def saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def listed(value):
    """Tensors as lists, so that == compares."""
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), tuple(value.shape), repr(value.tolist())]
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, list | tuple) else repr(value)


CHECKPOINT = trained()
CHECKPOINT_FILE = saved(CHECKPOINT)
ODD_TENSORS = (
    torch.zeros(0), torch.tensor(1.0), torch.zeros(3, 2), torch.zeros(2, 3, dtype=torch.int64),
    torch.zeros(2, 3).bool(), torch.zeros(2, 3, dtype=torch.complex64), torch.zeros(1).expand(10**9),
    torch.zeros(1, 1).expand(10**9, 64), torch.full((2, 3), torch.nan),
)  # fmt: skip


@st.composite
def checkpoints(draw):
    """Checkpoints with other contents."""
    changed = {**CHECKPOINT, "state_dict": dict(CHECKPOINT["state_dict"])}
    for _ in range(draw(st.integers(1, 2))):
        place = draw(
            st.sampled_from(("all", "state_dict", "weight", "optimizer", "scheduler", "epoch", "state", "groups"))
        )
        odd = draw(st.sampled_from((*(value for value in ODD if value != "\ud800"), *ODD_TENSORS)))
        if place == "all":
            changed = odd
        elif not isinstance(changed, dict):
            continue
        elif place == "weight" and isinstance(changed.get("state_dict"), dict):
            changed["state_dict"] = {draw(st.sampled_from(("weight", "bias", ""))): odd}
        elif place in ("state", "groups") and isinstance(changed.get("optimizer"), dict):
            key = {"state": "state", "groups": "param_groups"}[place]
            changed["optimizer"] = {**changed["optimizer"], key: draw(st.sampled_from((odd, [odd], {0: odd})))}
        elif place in changed:
            changed[place] = odd
    return saved(changed)


def restored(path: Path):
    model = torch.nn.Linear(3, 2, bias=False)
    restore_checkpoint(str(path), model, *optimiser(model))
    return repr(model.weight.tolist())


def plain_restored(content: bytes):
    value = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]["weight"]
    return repr(value.float().tolist())


def prompts(path: Path):
    return listed(read_learned(path, {"weight": TENSOR}, "CoOp"))


def plain_prompts(content: bytes):
    return listed(torch.load(io.BytesIO(content), weights_only=True)["state_dict"])


torch.manual_seed(0)
STATE = {
    key: value.float().contiguous()
    for key, value in ClipPackage(8, 32, 1, 64, 16, 8, 64, 64, 1, 1).state_dict().items()
    if key not in ("input_resolution", "context_length", "vocab_size")
}
# Rows for some tokens alone, [SOS] and [EOS] among them, so that a file is small.
STATE["token_rows"] = STATE.pop("token_embedding.weight")  # (64, 64)
STATE["token_ids"] = torch.tensor([*range(62), 49406, 49407])


def clip(path: Path):
    return {key: value.detach().numpy().tobytes() for key, value in load_clip(f"{path}@quickgelu").state_dict().items()}


def npz(state) -> bytes:
    file = io.BytesIO()
    np.savez(file, **{key: value.numpy() for key, value in state.items()})
    return file.getvalue()


def loaded_from(suffix: str, content: bytes):
    """What reading the undamaged file gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"clip{suffix}")
        path.write_bytes(content)
        return clip(path)


RIGHT_CLIP: list = []


def right_clip(_: bytes):
    """With checksums, only the weights that were written are right."""
    if not RIGHT_CLIP:
        RIGHT_CLIP.append(loaded_from(".pt", saved(STATE)))
    return RIGHT_CLIP[0]


def plain_safetensors(content: bytes) -> dict:
    """The tensors of a file, by its header: JSON after its length in 8 bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    types = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64}
    return {
        key: torch.from_numpy(np.frombuffer(data[slice(*about["data_offsets"])], types[about["dtype"]]).copy()).view(
            about["shape"]
        )
        for key, about in header.items()
        if key != "__metadata__"
    }


def plain_clip(content: bytes):
    """A safetensors file has no checksums: its header is right, with the rounding of the clip package."""
    return loaded_from(".pt", saved(plain_safetensors(content)))


@st.composite
def states(draw):
    """Weights, some of them odd."""
    changed = dict(STATE)
    for _ in range(draw(st.integers(1, 2))):
        key = draw(st.sampled_from(sorted(changed)))
        if draw(st.booleans()):
            changed.pop(key)
        changed[draw(st.sampled_from((key, "token_rows", "token_ids", "x", "transformer.resblocks.7.x")))] = draw(
            st.sampled_from((*ODD_TENSORS, "x", None, torch.zeros(1, 10**6), torch.tensor([-1, 10**12])))
        )
    return saved(changed)


def readers(folder: Path) -> dict[str, Reader]:
    safe = save(STATE)
    start = 8 + struct.unpack("<Q", safe[:8])[0]
    return {
        "checkpoint, damaged": Reader(
            "model.pth.tar-1",
            lambda path: listed(load_checkpoint(str(path))),
            lambda _: listed(CHECKPOINT),
            damaged(CHECKPOINT_FILE),
        ),
        "checkpoint, resumed": Reader("model.pth.tar-2", restored, plain_restored, checkpoints()),
        "checkpoint, loaded": Reader("model.pth.tar-3", prompts, plain_prompts, checkpoints()),
        "CLIP .pt": Reader("clip.pt", clip, right_clip, damaged(saved(STATE))),
        "CLIP .pt, other weights": Reader("other.pt", clip, right_clip, states()),
        "CLIP .npz": Reader("clip.npz", clip, right_clip, damaged(npz(STATE))),
        "CLIP .safetensors": Reader(
            "clip.safetensors", clip, plain_clip, damaged(safe[:start]).map(lambda head: head + safe[start:])
        ),
    }
