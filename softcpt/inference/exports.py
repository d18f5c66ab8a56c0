"""The file of an exported classifier: safetensors, with everything but the tensors as JSON in its metadata."""

import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from softcpt.backbones import Head, weights
from softcpt.backbones.config import Preprocessing
from softcpt.backbones.precision import PRECISIONS
from softcpt.files import parse_json, write_atomically
from softcpt.files.texts import in_utf8, plain

from .export_checks import check_contents

SCHEMA = 1
ENTRY = "classifier"  # key of the metadata
KEYS = {
    "schema": int,
    "tasks": list,
    "heads": list,
    "preprocessing": dict,
    "backbone": dict,
    "precision": str,
    "provenance": dict,
    "digest": str,
}
HEAD_KEYS = ("scale", "normalised", "alpha", "beta")


@dataclass(frozen=True)
class Export:
    """An image classifier without its CLIP.

    Attributes:
        tasks: name, template, metric and class names of each.
        heads: one per task, from image features to logits.
        preprocessing: of images, before the tower.
        backbone: name of the CLIP, SHA-256 of its file, and a digest of its image tower's weights.
        precision: of the run, `amp` with its type; of an older export without it.
        upright: whether images are turned as their EXIF entries say, as in the run.
        weights: tuned weights of the image tower, by their names in it.
        prompts: (M, W) each, extra tokens of the image tower's layers.
        projection: (W, E) and bias (E,) or None, in place of the tower's projection and computed in fp32; or None.
        provenance: of the run.
    """

    tasks: Sequence[Mapping[str, Any]]
    heads: Sequence[Head]
    preprocessing: Preprocessing
    backbone: Mapping[str, str]
    precision: str = "fp32"
    upright: bool = True  # of an older export, which does not say
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    prompts: Sequence[Tensor] = ()
    projection: tuple[Tensor, Tensor | None] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tunes_images(self) -> bool:
        """Whether image features differ from those of the CLIP."""
        return bool(self.weights or len(self.prompts) or self.projection is not None)


def write_export(path: str | os.PathLike, export: Export) -> None:
    """Write an export, atomically. Raises ValueError for a path that is not in UTF-8, which could not be read."""
    check_path(path)
    heads = enumerate(export.heads)
    tensors = {f"heads.{t}.{name}": value for t, head in heads for name, value in head.named_buffers()}
    tensors |= {f"weights.{name}": value for name, value in export.weights.items()}
    tensors |= {f"prompts.{i}": value for i, value in enumerate(export.prompts)}
    if export.projection is not None:
        weight, bias = export.projection
        tensors |= {"projection.weight": weight} | ({} if bias is None else {"projection.bias": bias})
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    precision, _, half = export.precision.partition("-")  # apart, since older versions know no type of amp
    facts = {
        "schema": SCHEMA,
        "tasks": [dict(task) for task in export.tasks],
        "heads": [{key: getattr(head, key) for key in HEAD_KEYS} for head in export.heads],
        "preprocessing": asdict(export.preprocessing),
        "backbone": dict(export.backbone),
        "precision": precision,
        "half": half,
        "upright": export.upright,
        "provenance": dict(export.provenance),
    }
    facts["digest"] = digest_of(facts, tensors)
    write_atomically(path, save(tensors, {ENTRY: json.dumps(facts, ensure_ascii=False)}), follow=True)


def read_export(path: str | os.PathLike) -> Export:
    """Read an export.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an export, a damaged one, or one of another schema.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no exported classifier {path}")
    check_path(path)
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(ENTRY, "null")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        facts = parse_json(text)
    except Exception as error:  # besides its own, safetensors raises those of PyTorch and of Python
        raise ValueError(f"{path} is not an exported classifier, or it is truncated ({error})") from error
    facts = check_facts(facts, tensors, path)
    projection = tensors.get("projection.weight")
    shown: dict[str, Any] = dict(facts["preprocessing"])
    shown |= {key: tuple(value) for key, value in shown.items() if isinstance(value, list)}
    try:
        return Export(
            tasks=facts["tasks"],
            heads=[
                Head(**below(tensors, f"heads.{t}."), **{key: values[key] for key in HEAD_KEYS})
                for t, values in enumerate(facts["heads"])
            ],
            preprocessing=Preprocessing(**shown),
            backbone=facts["backbone"],
            precision=precision_in(facts),
            upright=facts.get("upright", True),
            weights=below(tensors, "weights."),
            prompts=[tensors[f"prompts.{i}"] for i in range(len(below(tensors, "prompts.")))],
            projection=None if projection is None else (projection, tensors.get("projection.bias")),
            provenance=facts["provenance"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} is not a complete exported classifier ({type(error).__name__}: {error})") from error


def check_path(path: str | os.PathLike) -> None:
    """Raise ValueError for a path that safetensors cannot open."""
    if not in_utf8(os.fspath(path)):
        raise ValueError(f"{plain(os.fspath(path))}: the path of an export must be in UTF-8: rename it")


def check_facts(facts: Any, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The checked metadata of an export. Raises ValueError, with the file and what is wrong."""
    if not isinstance(facts, dict) or "schema" not in facts:
        raise ValueError(f"{path} is a safetensors file, but not an exported classifier: use scripts/export.py")
    if facts["schema"] != SCHEMA:
        raise ValueError(f"{path}: schema is {reprlib.repr(facts['schema'])}, this version reads schema {SCHEMA}")
    wrong = [key for key, kind in KEYS.items() if not isinstance(facts.get(key), kind)]
    if wrong:
        raise ValueError(f"{path}: missing from the metadata, or of another type: {', '.join(wrong)}")
    if facts["digest"] != digest_of({key: value for key, value in facts.items() if key != "digest"}, tensors):
        raise ValueError(f"{path} is damaged: its contents are not those that were written; export the run again")
    if not isinstance(facts.get("upright", True), bool):
        raise ValueError(f"{path}: upright is {reprlib.repr(facts['upright'])}, neither true nor false")
    if precision_in(facts) not in PRECISIONS:
        raise ValueError(f"{path}: precision is {precision_in(facts)!r:.60}, use one of {', '.join(PRECISIONS)}")
    try:
        check_contents(facts, tensors)
    except ValueError as error:
        raise ValueError(f"{path} is no legal export: {error}") from error
    return facts


def precision_in(facts: Mapping[str, Any]) -> str:
    half = facts.get("half", "")
    return f"{facts['precision']}-{half}" if half else facts["precision"]


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def digest_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A digest of everything in an export."""
    return weights.digest_of(tensors, json.dumps(facts, sort_keys=True))
