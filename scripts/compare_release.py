"""Train the authors' SoftCPT beside ours: a checkout of kding1225/softcpt with the Dassl that lies in its `dist`.

    python scripts/compare_release.py --release softcpt-release [--variant NATA NATS] [--shots 4] [--epochs 10]

Both train on the demo with the tiny CLIP, on a CPU, from the same initial values and on the same batches and views,
which are recorded here and played there. All else there is the authors': model, loss, optimiser, schedule, loop and
evaluator; their readers of images are not used. Prints the largest difference of the losses and the accuracy of each
task. Exit status: 1 if an accuracy differs, or a loss by more than 1e-8.

Both compute in double precision, so that rounding does not hide a difference. The authors step their one optimiser
once per name under which it is registered, so ours runs with SCHEDULE released. Needs scikit-learn, which their log
uses; packages that they import and this comparison does not use (OpenCV, addict) are replaced by empty ones if missing.
Nothing is written into the checkout.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

PROJECT_ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = 1e-8
UNUSED = ("cv2", "addict", "gdown", "wilds")  # imports of the release that the comparison does not need
NAMES = {  # {parameter here: there}
    "task_context.ctx": "task_prompt_learner.ctx",
    "class_context.ctx": "class_prompt_learner.ctx",
    "meta_net.weight": "prompt_gen.proj",
}
N_CTX = 16, 4, 4  # of the classes' prompts, of u and of v
OTHERWISE = "-otherwise"  # end of a variant's name: with the keys below, here and there
HERE: dict[str, Any] = {
    "TASK_TOKEN_POSITION": "front",
    "CLASS_BRANCH_TOKEN_POSITION": "middle",
    "FREEZE_CLASS_CONTEXT": True,
    "CLASS_TOKEN_POSITION": "middle",
}
THERE: dict[str, Any] = {
    "TASK_TOKEN_POSITION": "front",
    "CLASS_TOKEN_POSITION": "middle",
    "FREEZE_CLS_PROMPT": 1,
    "TOKEN_POSITION": "middle",
}


def compute_in_double() -> None:
    """Let everything that asks for single or half precision in this process have double."""
    import torch

    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign, assignment]
    torch.nn.Module.float = torch.nn.Module.double  # type: ignore[method-assign, assignment]
    torch.Tensor.half = torch.Tensor.double  # type: ignore[method-assign, assignment]
    torch.nn.Module.half = torch.nn.Module.double  # type: ignore[method-assign, assignment]
    torch.float32 = torch.float64


# -- a process of ours -----------------------------------------------------------------------------------------------


def record_here(folder: Path, arguments: list[str]) -> None:
    """Run train.py, and write what the other side starts from (recorded.pt) and what came out (here.json)."""
    import dassl.engine
    import torch

    compute_in_double()
    build, seen = dassl.engine.build_trainer, {"losses": []}
    recorded: dict[str, Any] = {"batches": []}

    def build_recorded(cfg: Any) -> Any:
        trainer = build(cfg)
        step = trainer.forward_backward
        recorded["learned"] = {name: value.detach().clone() for name, value in trainer.learned.named_parameters()}
        recorded["tasks"] = [(task.name, list(task.classnames), task.metric) for task in trainer.tasks]

        def recorded_step(batch: Any) -> dict[str, float]:
            recorded["batches"].append((batch["img"], batch["label"]))
            logs = step(batch)
            seen["losses"].append(logs["loss"])
            return logs

        trainer.forward_backward = recorded_step
        recorded["trainer"] = trainer
        return trainer

    dassl.engine.build_trainer = build_recorded  # before train.py imports it
    sys.argv = [str(PROJECT_ROOT / "train.py"), *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stopped:
        if stopped.code:
            raise
    trainer = recorded.pop("trainer")
    recorded["steps"] = trainer.num_batches
    recorded["test"] = [(batch["img"], batch["label"]) for batch in trainer.test_loader]
    seen["values"] = [task["value"] for task in trainer.evaluator.task_results]
    torch.save(recorded, folder / "recorded.pt")
    (folder / "here.json").write_text(json.dumps(seen))


# -- a process of the release ----------------------------------------------------------------------------------------


class Played:
    """A loader of recorded batches, a number of them per epoch; labels are the release's rows of -1, 0 and 1."""

    def __init__(self, batches: list, sizes: list[int], per_epoch: int) -> None:
        self.batches, self.sizes, self.per_epoch, self.played = batches, sizes, per_epoch, 0

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import torch

        task = torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))  # (C,)
        for image, label in self.batches[self.played : self.played + self.per_epoch]:
            rows = torch.where(task[label][:, None] == task, 0, -1)  # (B, C)
            rows[torch.arange(len(label)), label] = 1
            yield {"img": image, "label": rows, "domain": torch.zeros_like(label)}
        self.played = (self.played + self.per_epoch) % len(self.batches)


def play_there(folder: Path, release: Path, variant: str, epochs: int) -> None:
    """Train the release's MTCoOp on what was recorded, and write its losses and values (there.json)."""
    import torch

    sys.path[:0] = [str(release), str(release / "dist/Dassl.pytorch")]
    for name in UNUSED:
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = MagicMock(__spec__=None)
    # Their folder `clip` has no __init__.py, so an installed CLIP would hide it.
    sys.modules["clip"] = ModuleType("clip")
    sys.modules["clip"].__path__ = [str(release / "clip")]
    accept_verbose(torch.optim.lr_scheduler.LRScheduler)
    compute_in_double()
    their_train = runpy.run_path(str(release / "train.py"), run_name="release")
    from clip import clip

    from trainers.mtcoop import MTCoOp  # theirs

    recorded = torch.load(folder / "recorded.pt", weights_only=True)
    names, classes, metrics = zip(*recorded["tasks"])
    sizes, seen = list(map(len, classes)), {"losses": [], "values": []}
    clip._MODELS["tiny"], clip._download = str(folder / "tiny.pt"), lambda url: url

    def loaders(trainer: Any) -> None:
        data = {"taskid2tname": list(names), "taskid2cname": list(classes), "taskid2type": ["sl"] * len(names)}
        data["taskid2metric"] = [{"accuracy": "overall_acc", "mean_per_class": "mean_acc"}[name] for name in metrics]
        trainer.dm = SimpleNamespace(dataset=SimpleNamespace(**data))
        trainer.train_loader_x = Played(recorded["batches"], sizes, recorded["steps"])
        trainer.test_loader = Played(recorded["test"], sizes, len(recorded["test"]))
        trainer.val_loader = None

    MTCoOp.build_data_loader = loaders
    cfg = their_train["setup_cfg"](their_arguments(folder, release, variant, epochs))
    trainer = MTCoOp(cfg)
    state = trainer.model.state_dict()
    for name, value in recorded["learned"].items():
        state[NAMES[name]].copy_(value.reshape(state[NAMES[name]].shape))
    step, metric = trainer.forward_backward, trainer.evaluator.compute_metric

    def recorded_step(batch: Any) -> dict[str, float]:
        logs = step(batch)
        seen["losses"].append(logs["loss"])
        return logs

    def recorded_metric(*args: Any) -> float:
        value = float(metric(*args))
        seen["values"].append(value)
        return value

    trainer.forward_backward, trainer.evaluator.compute_metric = recorded_step, recorded_metric
    trainer.train()
    (folder / "there.json").write_text(json.dumps(seen))


def accept_verbose(scheduler: Any) -> None:
    """Let PyTorch's schedulers take the argument `verbose`, which 2.7 removed and the release's Dassl gives."""
    initialise = scheduler.__init__

    def with_verbose(self: Any, optimizer: Any, last_epoch: int = -1, verbose: bool = False) -> None:
        initialise(self, optimizer, last_epoch)

    scheduler.__init__ = with_verbose


def their_arguments(folder: Path, release: Path, variant: str, epochs: int) -> argparse.Namespace:
    """The arguments of the release's train.py, with its own config of the RN50."""
    n_ctx, task, own = N_CTX
    variant, otherwise, _ = variant.partition(OTHERWISE)
    opts = {"CLASS_N_CTX": own, "CLASS_CSC": variant.startswith("CS"), "TASK_N_CTX": task}
    opts |= {"TASK_CSC": variant.endswith("TS"), "N_CTX": n_ctx, "CSC": not variant.startswith("NA")}
    opts |= {"PG_TYPE": "lin", "PREC": "fp32", **(THERE if otherwise else {})}
    pairs = {f"TRAINER.MTCOOP.{key}": value for key, value in opts.items()}
    pairs |= {"MODEL.BACKBONE.NAME": "tiny", "INPUT.SIZE": (64, 64), "OPTIM.MAX_EPOCH": epochs, "USE_CUDA": False}
    given = dict.fromkeys(("root", "resume", "seed", "source_domains", "target_domains", "transforms", "backbone"))
    given |= dict.fromkeys(("head", "old_data_path", "new_data_path", "dataset_config_file"))
    config = str(release / "configs/trainers/MTCoOp/rn50_ep50.yaml")
    given |= {"trainer": "MTCoOp", "config_file": config, "output_dir": str(folder / "there")}
    return argparse.Namespace(**given, opts=[str(item) for pair in pairs.items() for item in pair])


# -- this process ----------------------------------------------------------------------------------------------------


def compare(folder: Path, release: Path, data: Path, variant: str, args: argparse.Namespace) -> bool:
    """Train both sides, print the table, and return whether they agree."""
    from scripts.compare_upstream import CLIP, largest, pairs, write_weights

    folder.mkdir()
    write_weights(folder / "tiny.pt")
    n_ctx, task, own = N_CTX
    settings = {"DATASET.NUM_SHOTS": args.shots, "OPTIM.MAX_EPOCH": args.epochs, "MODEL.BACKBONE.NAME": CLIP}
    settings |= {"FEATURES.TRAIN_VIEWS": 0, "FEATURES.TEST_CACHE": False, "DATALOADER.NUM_WORKERS": 0}
    settings |= {"USE_CUDA": False, "TEST.FINAL_MODEL": "last_step", "TRAINER.SOFTCPT.PREC": "fp32"}
    plain, otherwise, _ = variant.partition(OTHERWISE)
    own_keys = (HERE if otherwise else {}) | {"VARIANT": plain, "SCHEDULE": "released"}
    own_keys |= {"N_CTX": n_ctx, "TASK_N_CTX": task, "CLASS_N_CTX": own}
    settings |= {f"TRAINER.SOFTCPT.{key}": value for key, value in own_keys.items()}
    flags = ["--root", str(data), "--seed", str(args.seed), "--trainer", "SoftCPT", "--output-dir", str(folder / "run")]
    flags += ["--dataset-config-file", str(PROJECT_ROOT / "configs/datasets/demo.yaml")]
    flags += ["--config-file", str(PROJECT_ROOT / "configs/trainers/SoftCPT/tiny.yaml"), *pairs(settings)]
    call(["--here", str(folder), *flags], str(PROJECT_ROOT / "compat"))
    call(["--there", str(folder), str(release), variant, str(args.epochs)], "")
    here, there = (json.loads((folder / f"{side}.json").read_text()) for side in ("here", "there"))
    difference = largest(here["losses"], there["losses"])
    equal = [abs(a - b) < 1e-9 for a, b in zip(here["values"], there["values"], strict=True)]
    values = ", ".join(f"{a:.2f}/{b:.2f}" for a, b in zip(here["values"], there["values"]))
    print(f"| {variant} | {len(here['losses'])} | {difference:.1e} | {values} |", flush=True)
    return difference <= TOLERANCE and all(equal)


def call(arguments: list[str], path: str) -> None:
    """Run this file in a process of its own. Raises RuntimeError with the end of its output if it fails."""
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=Path, required=True, help="checkout of kding1225/softcpt")
    parser.add_argument(
        "--variant",
        nargs="+",
        default=["NATA", "NATS", "CATS", "CATS-otherwise"],
        help="of SoftCPT; with -otherwise names stand elsewhere in all prompts, and v is frozen",
    )
    parser.add_argument("--shots", type=int, default=4, help="images per class")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    release = args.release.absolute()
    if not (release / "trainers/mtcoop.py").is_file():
        parser.error(f"--release: {args.release} has no trainers/mtcoop.py; name a checkout of kding1225/softcpt")
    sys.path.insert(0, str(PROJECT_ROOT))
    from scripts.compare_upstream import draw_demo

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_demo(folder / "data")
        print(f"{args.shots} shots, {args.epochs} epochs, seed {args.seed}; accuracy per task here/there\n")
        print("| variant | steps | largest difference of losses | accuracy |\n|---|--:|--:|---|", flush=True)
        agree = [compare(folder / own, release, folder / "data", own, args) for own in args.variant]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        sys.exit(record_here(Path(sys.argv[2]), sys.argv[3:]))
    if sys.argv[1:2] == ["--there"]:
        sys.exit(play_there(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
    sys.exit(main())
