"""Readers of exports, feature caches and archives, each with a naive reader that gives the right value."""

import io
import json
import os
import random
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path

import hypothesis.strategies as st
import torch
from fuzz.hostile import Reader, damaged, edited
from fuzz.tensor_readers import listed, plain_safetensors
from fuzz.text_readers import TASK
from safetensors.torch import save

from datasets.tools.unpack import unpack
from softcpt.backbones import Head
from softcpt.backbones.config import Preprocessing
from softcpt.images.feature_cache import FeatureCache
from softcpt.inference.exports import ENTRY, digest_of, read_export, write_export


def export_file(folder: Path) -> bytes:
    from softcpt.inference.exports import Export

    own = {"name": "RN50", "sha256": "0" * 64, "image_digest": "0" * 32}
    export = Export([TASK], [Head(torch.ones(2, 3))], Preprocessing((32, 32)), own, provenance={"run": "x"})
    write_export(folder / "export.safetensors", export)
    return (folder / "export.safetensors").read_bytes()


def export(path: Path):
    found = read_export(path)
    heads = [listed(dict(head.named_buffers())) for head in found.heads]
    return [list(found.tasks), heads, found.precision, dict(found.backbone), found.preprocessing.size]


@st.composite
def exports(draw, facts):
    """Exports with other contents, and the digest that matches."""
    changed = draw(edited(facts))
    tensors = {"heads.0.weight": draw(st.sampled_from((torch.ones(2, 3), torch.ones(3), torch.zeros(0, 3))))}
    if isinstance(changed, dict):
        changed["digest"] = digest_of({key: value for key, value in changed.items() if key != "digest"}, tensors)
    return save(tensors, {ENTRY: json.dumps(changed)})


def plain_export(content: bytes):
    (length,) = struct.unpack("<Q", content[:8])
    facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][ENTRY])
    heads = [{"weight": listed(plain_safetensors(content)["heads.0.weight"])}]
    size = facts["preprocessing"]["size"]
    size = tuple(size) if isinstance(size, list) else size
    return [facts["tasks"], heads, facts["precision"], facts["backbone"], size]


FEATURES = torch.arange(12.0).view(4, 3)


def features(path: Path):
    """Whatever the file holds, the features are right: read, or computed again."""
    return FeatureCache(path.parent).get({"a": 1}, (4, -1), FEATURES.clone).tolist()


FILES = {"images/a.jpg": random.Random(0).randbytes(700), "images/b.jpg": b"b" * 40, "list.txt": b"images/a.jpg 1\n"}


def archive(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            for name, content in FILES.items():
                target.writestr(name, content)
    else:
        with tarfile.open(fileobj=file, mode=f"w:{kind}") as target:
            for name, content in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                target.addfile(info, io.BytesIO(content))
    return file.getvalue()


def unpacked(path: Path):
    target, before = path.parent / "target", set(os.listdir(path.parent))
    shutil.rmtree(target, ignore_errors=True)
    try:
        unpack(str(path), str(target))
        return {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    finally:
        assert set(os.listdir(path.parent)) <= before | {"target"}, "files beside the target"


def plain_tar(content: bytes) -> dict:
    """A tar has no checksums of its contents, so what tarfile itself reads is right."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as file:
        return {os.path.normpath(info.name): file.extractfile(info).read() for info in file if info.isreg()}


def readers(folder: Path) -> dict[str, Reader]:
    exported = export_file(folder)
    facts = json.loads(json.loads(exported[8 : 8 + struct.unpack("<Q", exported[:8])[0]])["__metadata__"][ENTRY])
    features(folder / "any")
    (cache,) = (path for path in folder.glob("*.safetensors") if path.name != "export.safetensors")
    return {
        "export, damaged": Reader("export.safetensors", export, lambda _: plain_export(exported), damaged(exported)),
        "export, other contents": Reader("export.safetensors", export, plain_export, exports(facts)),
        "feature cache": Reader(cache.name, features, lambda _: FEATURES.tolist(), damaged(cache.read_bytes())),
        "archive .zip": Reader("archive.zip", unpacked, lambda _: FILES, damaged(archive("zip"))),
        "archive .tar.gz": Reader("archive.tgz", unpacked, lambda _: FILES, damaged(archive("gz"))),
        "archive .tar": Reader("archive.tar", unpacked, plain_tar, damaged(archive(""))),
    }
