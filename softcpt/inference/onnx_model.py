"""A classifier as one ONNX model: the image tower with its heads."""

import contextlib
import copy
import inspect
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from softcpt.backbones import layers
from softcpt.packages import optional

from .classifier import Classifier

BATCHES = (1, 2, 5)  # sizes of the batches that are compared; the model is traced with another
TRACED = 3
TOLERANCE = 1e-3  # times the largest logit
EXPORTS = "dynamic_shapes" in inspect.signature(torch.onnx.export).parameters  # from PyTorch 2.5 on


class TowerWithHeads(nn.Module):
    """Images (B, 3, H, W) to the logits (B, R) of each task, in fp32."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.tower = copy.deepcopy(classifier.tower).float().cpu()
        self.heads = nn.ModuleList(copy.deepcopy(classifier.heads[name]).cpu() for name in classifier.tasks)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self.tower(image)
        return tuple(head(features) for head in self.heads)


def write_onnx(path: str | os.PathLike, classifier: Classifier) -> float:
    """Write a classifier as ONNX, atomically and after a comparison with PyTorch.

    The batch size is dynamic, and each task has an output of logits. The metadata entry "classifier" holds the tasks,
    their classes and the preprocessing as JSON.

    Returns the largest difference between the logits of onnxruntime and PyTorch, both in fp32, on random images.

    Raises ValueError if a package is missing or PyTorch is too old, if the logits differ by more than 1e-3 of the
    largest, or if the tower has parts that ONNX lacks.
    """
    path = Path(path)
    onnx = package("onnx")
    package("onnxscript")
    if not EXPORTS:
        raise ValueError(f"ONNX models need PyTorch 2.5 or newer; this is {torch.__version__}")
    model = TowerWithHeads(classifier).eval()
    names = output_names(classifier.tasks)
    example = random_images(classifier, TRACED)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        file = Path(folder, path.name)
        with plain_activations(model), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                torch.onnx.export(
                    model,
                    (example,),
                    file,
                    input_names=["image"],
                    output_names=names,
                    dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1)}},
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
            except torch.onnx.errors.OnnxExporterError as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                name = classifier.export.backbone["name"]
                raise ValueError(f"the image tower of {name} cannot be exported: {reason}") from error
        written = onnx.load(file)
        entry = written.metadata_props.add()
        entry.key, entry.value = "classifier", json.dumps(description(classifier, names), ensure_ascii=False)
        onnx.save(written, file)
        difference = check(file, model, classifier)
        os.replace(file, path)
    return difference


def check(file: Path, model: TowerWithHeads, classifier: Classifier) -> float:
    """The largest difference of logits. Raises ValueError if it is too large."""
    runtime = package("onnxruntime")
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    worst = largest = 0.0
    for count in BATCHES:
        image = random_images(classifier, count)
        with torch.no_grad():
            expected = [logits.numpy() for logits in model(image)]
        try:
            found = session.run(None, {"image": image.numpy()})
        except Exception as error:  # onnxruntime's own types derive from Exception alone
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"no ONNX model is written: onnxruntime cannot run {count} images ({reason})") from error
        for ours, theirs in zip(expected, found, strict=True):
            worst, largest = max(worst, float(np.abs(ours - theirs).max())), max(largest, float(np.abs(ours).max()))
    if not worst <= TOLERANCE * largest:
        raise ValueError(
            f"no ONNX model is written: its logits, up to {largest:.3g}, differ from PyTorch's by {worst:.1e}"
        )
    return worst


def random_images(classifier: Classifier, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 3, *classifier.export.preprocessing.size, generator=generator)


def description(classifier: Classifier, names: Sequence[str]) -> dict[str, Any]:
    export = classifier.export
    return {
        "tasks": [{"output": name, **task} for name, task in zip(names, export.tasks)],
        "preprocessing": asdict(export.preprocessing),
        "upright": export.upright,
        "backbone": dict(export.backbone),
        "provenance": dict(export.provenance),
    }


def output_names(tasks: Sequence[str]) -> list[str]:
    """An output name of letters, digits and underscores per task: "bird species" becomes "bird_species"."""
    names: list[str] = []
    for task in tasks:
        name = re.sub(r"\W+", "_", task, flags=re.ASCII).strip("_").lower() or "logits"
        names.append(name if name not in (*names, "image") else f"{name}_{len(names)}")
    return names


@contextlib.contextmanager
def plain_activations(model: nn.Module) -> Iterator[None]:
    """A context in which QuickGELU consists of operations that the exporter knows; the usual one has a backward pass of
    its own."""
    usual = layers.ACTIVATIONS["quick_gelu"]
    changed = [module for module in model.modules() if getattr(module, "activation", None) is usual]
    for module in changed:
        module.activation = quick_gelu
    try:
        yield
    finally:
        for module in changed:
            module.activation = usual


def quick_gelu(x: Tensor) -> Tensor:
    return x * (1.702 * x).sigmoid()


def package(name: str) -> ModuleType:
    return optional(name, "onnx", f"ONNX models need the package {name}")
