"""Write what a run has learned as one file, for predictions without the methods and their training.

    python scripts/export.py RUN_FOLDER MODEL.safetensors [--onnx MODEL.onnx]
    python scripts/export.py RUN_FOLDER MODEL.safetensors --classes NAMES.txt --task NAME --features zero-shot

The file holds the class features of every task and what the method changed in the image tower; it needs the weights of
the run's CLIP beside it. `inference.load_classifier` and scripts/predict.py read it. The ONNX model holds the image
tower as well, and needs nothing. With --classes the task is one that the run was not trained on; --features says what
its classes are made of. Exit status: 0; 2 for wrong arguments, or a method that is no classifier of image features.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

import train  # noqa: F401  first: it provides Dassl

# isort: split
from evaluation.classes import write_classes
from finished.export import export_of
from finished.load import load_run, load_run_for
from finished.new_tasks import FEATURES, new_task, new_task_heads, read_names
from inference import Export, load_classifier, write_export


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN_FOLDER", help="what --output-dir of train.py named")
    add("file", type=Path, metavar="MODEL.safetensors", help="the file to write")
    add("--onnx", type=Path, metavar="FILE", help="write the image tower with the heads as an ONNX model, too")
    add("--classes", type=Path, metavar="FILE", help="class names of a task that is new to the run, one a line")
    add("--task", default="", help="name of the new task")
    add("--template", default="", help="hand-made prompt of the new task (default: 'a photo of a {}.')")
    add("--features", choices=FEATURES, help="what the new task's classes are made of: must be chosen")
    add("--root", default="", help="folder of the data sets, for a run of an older version, without classes.json")
    add("opts", nargs="*", metavar="KEY VALUE", help="config keys, such as USE_CUDA False")
    return parser.parse_intermixed_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Raise ValueError for what can be known to be wrong before anything is loaded."""
    for path, suffix in ((args.file, ".safetensors"), (args.onnx, ".onnx")):
        if path and path.suffix != suffix:
            raise ValueError(f"{path}: the name of the file must end in {suffix}")
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise ValueError(f"{path} is a folder, or in a folder that is not there")
    if bool(args.classes) != bool(args.task):
        raise ValueError("--classes and --task go together: the class names of a new task, and its name in words")
    if args.classes and not args.features:
        raise ValueError(
            "--features: choose what the new task's classes are made of: context (what the method makes of the names), "
            "zero-shot (the hand-made prompt) or average (of the two); docs/inference.md says when to trust which"
        )
    if args.features and not args.classes:
        raise ValueError(f"--features: {args.features} is of a new task, whose class names --classes gives")


def make_export(args: argparse.Namespace) -> Export:
    if not args.classes:
        return export_of(load_run(args.run, args.root, args.opts), args.run)
    task = new_task(args.task, read_names(args.classes), args.template)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "classes.json")
        write_classes(path, [task])
        trainer = load_run_for(args.run, task, path, args.opts)
    heads = new_task_heads(trainer)
    if args.features not in heads:
        raise ValueError(f"--features: {type(trainer).__name__} has no {args.features}; one of {', '.join(heads)}")
    return export_of(trainer, args.run, [heads[args.features]], features=args.features)


def export(args: argparse.Namespace) -> None:
    check_args(args)
    made = make_export(args)
    write_export(args.file, made)
    classes = sum(len(task["classnames"]) for task in made.tasks)
    print(
        f"{args.file}: {len(made.tasks)} tasks, {classes} classes, {args.file.stat().st_size / 2**20:.1f} MiB; ", end=""
    )
    print(f"needs {made.backbone['name']}, SHA-256 {made.backbone['sha256']}")
    if args.onnx:
        from inference.onnx_model import write_onnx

        classifier = load_classifier(args.file, device="cpu", precision="fp32")
        difference = write_onnx(args.onnx, classifier)
        size = args.onnx.stat().st_size / 2**20
        print(f"{args.onnx}: {size:.1f} MiB; its logits differ from PyTorch's by {difference:.1e} at most")


@one_line_errors(2)
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)
    export(args)


if __name__ == "__main__":
    sys.exit(main())
