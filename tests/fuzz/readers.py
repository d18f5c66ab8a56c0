"""All readers that are tested with hostile files."""

from pathlib import Path

from fuzz import archive_readers, tensor_readers, text_readers
from fuzz.hostile import Reader

NAMES = (
    "split JSON", "tasks.csv", "tasks.yaml", "config yaml", "classes.json", "results.json", "data.json",
    "shots.json", "predictions.csv.gz", "checkpoint, damaged", "checkpoint, resumed", "checkpoint, loaded",
    "CLIP .pt", "CLIP .pt, other weights", "CLIP .npz", "CLIP .safetensors", "export, damaged",
    "export, other contents", "feature cache", "archive .zip", "archive .tar.gz", "archive .tar",
)  # fmt: skip


def readers(folder: Path) -> dict[str, Reader]:
    """All readers by name, as in NAMES; `folder` holds what the files refer to."""
    kinds = (text_readers, tensor_readers, archive_readers)
    return {name: reader for kind in kinds for name, reader in kind.readers(folder).items()}
