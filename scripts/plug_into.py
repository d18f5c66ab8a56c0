"""Add the methods, the multi-task benchmarks and their configs to a CoOp checkout: see scripts/plug_into.sh.

All files go into the folder softcpt/ of the checkout, except train_softcpt.py, which goes beside CoOp's train.py. The
manifest, softcpt/MANIFEST.json, lists them with their SHA-256 and is written last. Needs PyYAML, as CoOp does.
"""

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT_ROOT))

from scripts.lib.command import one_line_errors  # noqa: E402

from softcpt.files import BASE_KEY, read_config, write_atomically  # noqa: E402
from softcpt.files.texts import counted  # noqa: E402

FOLDERS = "softcpt trainers datasets compat configs/datasets configs/trainers".split()
FILES = "train.py LICENSE pyproject.toml requirements-open_clip.txt requirements-transformers.txt".split()
FILES += ["configs/recipes.yaml"]
DEMO = ("configs/datasets/demo.yaml", "configs/trainers/*/tiny*.yaml")
MANIFEST = Path("softcpt", "MANIFEST.json")
COOP = ("train.py", "datasets", "trainers", "clip", "configs")


def files_to_add() -> dict[str, bytes]:
    """{path in the checkout: content}."""
    paths = [PROJECT_ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += sorted((PROJECT_ROOT / folder).rglob("*"))
    added = {"train_softcpt.py": (PROJECT_ROOT / "scripts/plug_into/train_softcpt.py").read_bytes()}
    for path in paths:
        relative = path.relative_to(PROJECT_ROOT)
        hidden = any(part.startswith(".") or part == "__pycache__" for part in relative.parts)
        # The checkout has neither the demo's data nor its CLIP.
        if path.is_file() and not hidden and not any(relative.match(pattern) for pattern in DEMO):
            added[Path("softcpt", relative).as_posix()] = contents(path)
    return added


def contents(path: Path) -> bytes:
    """The content of a file. Config files that build on others are resolved, since CoOp cannot read those."""
    text = path.read_bytes()
    if path.suffix != ".yaml" or f"{BASE_KEY}:".encode() not in text:
        return text
    import yaml

    header = [line for line in text.decode().splitlines() if line.startswith("#")]
    return "\n".join([*header, yaml.safe_dump(read_config(path), default_flow_style=None)]).encode()


def plug(checkout: Path, wanted: dict[str, bytes]) -> tuple[list[str], list[str]]:
    """Write and remove this project's files in `checkout` until they are those of `wanted`.

    Returns the paths written and removed. Raises ValueError, before anything is changed, if that would overwrite or
    remove a file that is not this project's, or that was changed since it was written.
    """
    known = read_manifest(checkout / MANIFEST)
    foreign, changed = [], []
    for path in sorted(known.keys() | wanted.keys()):
        if not os.path.lexists(checkout / path):
            continue
        found = digest((checkout / path).read_bytes()) if (checkout / path).is_file() else ""
        if path in wanted and found == digest(wanted[path]):
            continue
        if path not in known:
            foreign.append(path)
        elif found != known[path]:
            changed.append(path)
    for paths, what in ((foreign, "exists already and is not this project's"), (changed, "was changed since")):
        if paths:
            more = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
            raise ValueError(f"{checkout / paths[0]} {what}{more}; nothing was written: move it away first")

    present = {path for path in wanted if (checkout / path).is_file()}
    written = [path for path in wanted if path not in present or (checkout / path).read_bytes() != wanted[path]]
    for path in written:
        write(checkout / path, wanted[path])
    removed = [path for path in known if path not in wanted and (checkout / path).is_file()]
    for path in removed:
        (checkout / path).unlink()
        remove_empty_folders(checkout, Path(path).parent)
    if wanted:
        manifest = {"files": {path: digest(content) for path, content in wanted.items()}}
        write(checkout / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    elif (checkout / MANIFEST).is_file():
        (checkout / MANIFEST).unlink()
        remove_empty_folders(checkout, MANIFEST.parent)
    return written, removed


def read_manifest(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the manifest of this project ({error!r}); move it away") from error
    for name in files:  # which may be removed, so they must not lie outside the checkout
        if name != "train_softcpt.py" and (Path(name).parts[0] != "softcpt" or ".." in Path(name).parts):
            raise ValueError(f"{path} lists {name!r}, which is not a file of this project; move it away")
    return files


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def remove_empty_folders(checkout: Path, folder: Path) -> None:
    """Remove the folder, and those above it within the checkout, if they contain nothing but bytecode."""
    while folder.parts and (checkout / folder).is_dir():
        for cached in (checkout / folder / "__pycache__").glob("*.pyc"):
            cached.unlink()
        for path in (checkout / folder / "__pycache__", checkout / folder):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        folder = folder.parent


@one_line_errors(1)
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="plug_into.sh", description=__doc__)
    parser.add_argument("checkout", type=Path, metavar="PATH_TO_COOP", help="folder of a CoOp checkout")
    parser.add_argument("--remove", action="store_true", help="remove what was added")
    args = parser.parse_args(argv)
    missing = [name for name in COOP if not (args.checkout / name).exists()]
    if missing:
        print(f"error: {args.checkout} is not a CoOp checkout: it has no {', '.join(missing)}", file=sys.stderr)
        return 2
    written, removed = plug(args.checkout, {} if args.remove else files_to_add())
    print(f"{args.checkout}: {counted(len(written), 'file')} written, {len(removed)} removed, none of CoOp's changed")
    if not args.remove:
        print("Beside what CoOp needs: pip install safetensors scikit-learn. Try there: python train_softcpt.py -h")
    return 0


if __name__ == "__main__":
    sys.exit(main())
