"""Write the files of a new method: trainer, configs, script and test, from the example of docs/extending.md.

    python scripts/new_method.py MyMethod

The method is registered and can be trained at once; edit trainers/my_method.py from there. No file is overwritten.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from scripts.lib.command import one_line_errors  # noqa: E402

from softcpt.files import write_atomically  # noqa: E402

EXAMPLE, MODEL = "TunedScale", "TaskRes"  # the trainer of one and the configs of the other serve as templates
BLOCK = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)```", re.M | re.S)

SCRIPT = """#!/usr/bin/env bash
# {name}: bash scripts/{module}/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${{BASH_VERSION:-}}" ] || {{ echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }}
source "$(dirname "${{BASH_SOURCE[0]}}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" {module} "$@"
"""

TEST = '''"""What {name} alone does; tests/trainers/test_trainers.py tests what every method must do."""

import torch
from methods import build


def test_before_it_has_learned_anything_it_is_zero_shot_clip(toy_root, tmp_path):
    trainer = build(toy_root, tmp_path, "{name}")
    torch.testing.assert_close(trainer.text_features(), trainer.zero_shot_features())
'''


def printed_files(text: str) -> dict[str, str]:
    """{path: content} of the files that a document shows."""
    return dict(BLOCK.findall(text))


def module_name(name: str) -> str:
    """'MyMethod' as 'my_method', 'CLIPAdapter' as 'clip_adapter'."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def files_of(name: str) -> dict[str, str]:
    """{path: content} of a new method. Raises ValueError for an unsuitable name."""
    if not re.fullmatch("[A-Z][A-Za-z0-9]+", name):
        raise ValueError(f"{name!r}: a method's name is a capital letter, then letters and digits, as in MyMethod")
    module = module_name(name)
    printed = printed_files((ROOT / "docs/extending.md").read_text(encoding="utf-8"))
    files = {f"trainers/{module}.py": printed[f"trainers/{module_name(EXAMPLE)}.py"].replace(EXAMPLE, name)}
    for path in [ROOT / f"configs/methods/{MODEL}.yaml", *sorted((ROOT / "configs/trainers" / MODEL).glob("*.yaml"))]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("# The paper's")]
        text = "\n".join(lines) + "\n"
        text = text.replace("docs/results.md", "not measured")
        text = text.replace(f"scripts/{module_name(MODEL).replace('_', '')}/", f"scripts/{module}/")
        text = text.replace(MODEL, name).replace(MODEL.upper(), name.upper())
        files[path.relative_to(ROOT).as_posix().replace(MODEL, name)] = text
    files[f"scripts/{module}/main.sh"] = SCRIPT.format(name=name, module=module)
    files[f"tests/trainers/test_{module}.py"] = TEST.format(name=name)
    return files


def lay_out(name: str, root: Path) -> list[str]:
    """Write the files below `root` and return their paths. Raises ValueError, and writes nothing, if one exists."""
    files = files_of(name)
    configs = {path.name.lower() for path in (root / "configs/trainers").glob("*")}
    there = [path for path in files if (root / path).exists()]
    if there or name.lower() in configs:
        raise ValueError(f"{there[0] if there else f'configs/trainers/{name}'} already exists; choose another name")
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(root / path, text)
    return list(files)


@one_line_errors(2)
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="name of the trainer's class, as in MyMethod")
    args = parser.parse_args(argv)
    print(*lay_out(args.name, ROOT), sep="\n")
    module = module_name(args.name)
    print(
        f"\nTry it:      bash scripts/{module}/main.sh demo 4\n"
        f"Test it:     python -m pytest tests/trainers -k '{args.name} or zero_shot'\n"
        f"In a sweep:  - {{label: {args.name}, trainer: {args.name}}}    (a row of configs/sweeps/*.yaml)"
    )


if __name__ == "__main__":
    sys.exit(main())
