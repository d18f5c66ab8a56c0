"""Compare this project with upstream: an unmodified checkout of CoOp over an unmodified upstream Dassl.

    python scripts/compare_upstream.py --coop CoOp --dassl Dassl.pytorch [--method SoftCPT] [--shots 4]

This needs a PyTorch that upstream Dassl 0.6.3 supports (2.5.1 is the last), the packages in requirements.txt, and gdown
and wilds, which Dassl imports. Both sides train on the demo with the tiny CLIP, on the CPU, in a temporary folder;
nothing is written into the checkouts. With one seed,

1. a method trains on all seven tasks: here over compat/dassl, there as the plug-in in CoOp over upstream Dassl;
2. CoOp trains on one task: here as this project's CoOp, there with CoOp's own train.py and trainer.

Each side then evaluates its own checkpoint and the other's. Prints the loss of each step, the accuracies and the
differences of the logits. Exit status: 1 if accuracies differ, or losses or logits do by more than 1e-4.

The two sides shuffle and augment images with different random numbers, so in the second comparison a batch holds all
training images, unchanged. CoOp's trainer loads a CLIP by its published name; "tiny" is added to these in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PROJECT_ROOT = Path(__file__).resolve().parents[1]
CLIP = PROJECT_ROOT / "scripts/demo/tiny_clip.npz"
TOLERANCE = 1e-4
SINGLE_TASK = "shape"  # the task of the second comparison, which CoOp knows as DescribableTextures
SINGLE_EPOCHS = 10  # of one step each
TINY = "tiny"  # the name of the demo's CLIP for CoOp's trainer
WEIGHTS = "COMPARE_UPSTREAM_WEIGHTS"


@dataclass(frozen=True)
class Side:
    """A train.py and the Dassl that it runs over."""

    name: str
    script: Path
    dassl: Path  # folder of the package
    arguments: tuple[str, ...] = ()  # those of this side alone


@dataclass(frozen=True)
class Seen:
    """What was recorded of a run."""

    losses: list[float]  # of each step
    result: float  # accuracy in percent
    logits: list[list[float]]  # (N, C) of the test images


# -- in a process of its own -----------------------------------------------------------------------------------------


def record(out: str, script: str, arguments: list[str]) -> None:
    """Run a train.py in this process, and write its losses, result and logits to the file `out`."""
    import dassl.engine

    sys.path[0] = str(Path(script).parent)
    if os.environ.get(WEIGHTS):  # CoOp's loader, which downloads published CLIPs by name, finds this file as "tiny"
        from clip import clip

        clip._MODELS[TINY] = os.environ[WEIGHTS]
        clip._download = lambda url, *args: url
    build_trainer, seen = dassl.engine.build_trainer, {"losses": [], "result": None, "logits": []}

    def build_recorded(cfg: Any) -> Any:
        trainer = build_trainer(cfg)
        step, test, process = trainer.forward_backward, trainer.test, trainer.evaluator.process

        def recorded_step(batch: Any) -> dict[str, float]:
            logs = step(batch)
            seen["losses"].append(logs["loss"])
            return logs

        def recorded_process(logits: Any, label: Any) -> None:
            seen["logits"] += logits.tolist()
            process(logits, label)

        def recorded_test(split: str | None = None) -> float:
            seen["logits"].clear()  # only those of the last test are kept
            seen["result"] = test(split)
            return seen["result"]

        trainer.forward_backward, trainer.test = recorded_step, recorded_test
        trainer.evaluator.process = recorded_process
        return trainer

    dassl.engine.build_trainer = build_recorded  # before the script imports it
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stopped:
        if stopped.code:
            raise
    Path(out).write_text(json.dumps(seen))


# -- in this one -----------------------------------------------------------------------------------------------------


class Comparison:
    """Two sides, their common arguments, and a folder for their output."""

    def __init__(self, folder: Path, here: Side, there: Side, arguments: list[str]) -> None:
        self.folder, self.here, self.there, self.arguments = folder, here, there, arguments
        folder.mkdir()

    def run(self, side: Side, name: str, *flags: str) -> Seen:
        """Run `side`. Raises RuntimeError with the end of its output if it fails."""
        out = self.folder / f"{name}.json"
        command = [sys.executable, __file__, "--record", str(out), str(side.script), *flags]
        command += ["--output-dir", str(self.folder / name), *self.arguments, *side.arguments]  # KEY VALUE pairs last
        environment = {**os.environ, "PYTHONPATH": str(side.dassl), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode or not out.is_file():
            raise RuntimeError(f"{side.name} failed: {' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")
        return Seen(**json.loads(out.read_text()))

    def compare(self) -> bool:
        """Train both sides, evaluate both checkpoints on both, and print the results. Returns whether they agree."""
        print(f"\nhere: {self.here.name}\nthere: {self.there.name}\n")
        here, there = self.run(self.here, "here"), self.run(self.there, "there")
        print(table_of_losses(here.losses, there.losses))
        agrees = largest(here.losses, there.losses) <= TOLERANCE
        last_epoch = self.arguments[self.arguments.index("OPTIM.MAX_EPOCH") + 1]
        print("\n| checkpoint of | evaluated | accuracy | largest difference of logits |\n|---|---|--:|--:|")
        for trained, owner in ((here, "here"), (there, "there")):
            print(f"| {owner} | {owner}, after training | {trained.result!r} | – |")
            for side, place in ((self.here, "here"), (self.there, "there")):
                flags = ["--eval-only", "--model-dir", str(self.folder / owner), "--load-epoch", last_epoch]
                found = self.run(side, f"{owner}-{place}", *flags)
                difference = largest(found.logits, trained.logits)
                print(f"| {owner} | {place} | {found.result!r} | {difference:.1e} |")
                agrees = agrees and found.result == trained.result and difference <= TOLERANCE
        return agrees


def table_of_losses(here: list[float], there: list[float]) -> str:
    rows = [f"{i:4d}  {a:.7f}  {b:.7f}  {abs(a - b):.1e}" for i, (a, b) in enumerate(zip(here, there), start=1)]
    return "\n".join(["step       here      there  difference", *rows])


def largest(here: list, there: list) -> float:
    """The largest difference; infinite for nothing to compare or different sizes, NaN if a value is."""
    if not here or np.shape(here) != np.shape(there):
        return float("inf")
    return float(np.abs(np.subtract(here, there)).max())


def draw_demo(root: Path) -> int:
    """Draw the demo in `root`, and copy one task as CoOp's DescribableTextures. Returns its number of classes."""
    command = [sys.executable, str(PROJECT_ROOT / "scripts/demo/render.py"), "--out", str(root / "demo")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    task = Path(shutil.copytree(root / "demo" / SINGLE_TASK, root / "dtd"))
    split = task / "split_zhou_DescribableTextures.json"
    (task / f"split_zhou_Demo{SINGLE_TASK.capitalize()}.json").rename(split)
    return len({name for _, _, name in json.loads(split.read_text())["train"]})


def write_weights(path: Path) -> Path:
    """Write the demo's CLIP as a state dict, which CoOp's loader reads."""
    import torch

    sys.path.insert(0, str(PROJECT_ROOT))
    from softcpt.backbones.weights import read_state_dict, restore_token_rows

    torch.save(restore_token_rows(read_state_dict(CLIP)), path)
    return path


def pairs(settings: dict[str, Any]) -> list[str]:
    return [str(item) for pair in settings.items() for item in pair]


def compare_plug_in(folder: Path, coop: Path, dassl: Path, args: argparse.Namespace, shared: list[str]) -> bool:
    """The first comparison. Returns whether the sides agree."""
    subprocess.run([sys.executable, str(PROJECT_ROOT / "scripts/plug_into.py"), str(coop)], check=True)
    here = Side("this project over compat/dassl", PROJECT_ROOT / "train.py", PROJECT_ROOT / "compat")
    there = Side("the plug-in in CoOp over upstream Dassl", coop / "train_softcpt.py", dassl)
    flags = ["--trainer", args.method, "--dataset-config-file", str(PROJECT_ROOT / "configs/datasets/demo.yaml")]
    flags += ["--config-file", str(PROJECT_ROOT / f"configs/trainers/{args.method}/tiny.yaml")]
    # FEATURES.TRAIN_VIEWS 0: images come from the loaders of each Dassl.
    settings = {"OPTIM.MAX_EPOCH": args.epochs, "MODEL.BACKBONE.NAME": CLIP, "FEATURES.TRAIN_VIEWS": 0}
    return Comparison(folder / "plug_in", here, there, [*flags, *shared, *pairs(settings)]).compare()


def compare_coop(folder: Path, coop: Path, dassl: Path, batch_size: int, shared: list[str]) -> bool:
    """The second comparison. Returns whether the sides agree."""
    key, ours = "MODEL.BACKBONE.NAME", "CoOp of this project over compat/dassl"
    here = Side(ours, PROJECT_ROOT / "train.py", PROJECT_ROOT / "compat", (key, str(CLIP)))
    there = Side("CoOp's own trainer over upstream Dassl", coop / "train.py", dassl, (key, TINY))
    os.environ[WEIGHTS] = str(write_weights(folder / "tiny.pt"))
    settings = {
        "DATASET.NAME": "DescribableTextures",
        "DATALOADER.TRAIN_X.BATCH_SIZE": batch_size,
        "INPUT.SIZE": (64, 64),
        "INPUT.INTERPOLATION": "bicubic",
        "INPUT.PIXEL_MEAN": [0.48145466, 0.4578275, 0.40821073],
        "INPUT.PIXEL_STD": [0.26862954, 0.26130258, 0.27577711],
        "INPUT.TRANSFORMS": ("normalize",),
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": 0.002,
        "OPTIM.MAX_EPOCH": SINGLE_EPOCHS,
        "OPTIM.LR_SCHEDULER": "cosine",
        "TRAINER.COOP.PREC": "fp32",
    }
    return Comparison(folder / "coop", here, there, ["--trainer", "CoOp", *shared, *pairs(settings)]).compare()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coop", type=Path, required=True, help="checkout of KaiyangZhou/CoOp")
    parser.add_argument("--dassl", type=Path, required=True, help="checkout of KaiyangZhou/Dassl.pytorch")
    parser.add_argument("--method", default="SoftCPT", help="method of the first comparison")
    parser.add_argument("--shots", type=int, default=4, help="images per class")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the first comparison")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        coop, dassl = folder / "CoOp", folder / "Dassl"
        for checkout, copy in ((args.coop, coop), (args.dassl, dassl)):
            shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        classes = draw_demo(folder / "data")
        shared = ["--root", str(folder / "data"), "--seed", str(args.seed)]
        shared += pairs({"DATASET.NUM_SHOTS": args.shots, "DATALOADER.NUM_WORKERS": 0, "USE_CUDA": False})
        print(f"{args.method}, {args.shots} shots, seed {args.seed}, on seven tasks", flush=True)
        agree = compare_plug_in(folder, coop, dassl, args, shared)
        print(f"\nCoOp, {args.shots} shots, seed {args.seed}, on one task of {classes} classes", flush=True)
        agree &= compare_coop(folder, coop, dassl, classes * args.shots, shared)
    return 0 if agree else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        sys.exit(record(sys.argv[2], sys.argv[3], sys.argv[4:]))
    sys.exit(main())
