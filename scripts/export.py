"""Export a finished run to one file, which predicts without the code of the methods.

    python scripts/export.py RUN_FOLDER MODEL.safetensors [--onnx MODEL.onnx]
    python scripts/export.py RUN_FOLDER MODEL.safetensors --classes NAMES.txt --task NAME --features zero-shot

The file holds the class features of every task and what the method changed in the image tower. To use it with
`inference.load_classifier` or scripts/predict.py, the weights of the run's CLIP are needed, too; their file must be
named then, unless it is a published CLIP or the demo's. The ONNX model holds the whole image tower and needs nothing
else. With --classes the task is one that the run was not trained on; --features says how its classes are described.
Exit status: 0; 2 for wrong arguments, or a method that cannot be exported.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from softcpt.evaluation.records import NOT_TESTED, record_in
from softcpt.files.texts import counted
from softcpt.inference import Export, load_classifier, write_export
from softcpt.inference.exports import check_path
from trainers.engine.settings import pairs
from trainers.finished.export import export_of
from trainers.finished.load import load_run, load_run_for
from trainers.finished.new_tasks import FEATURES, new_task, new_task_heads, read_names


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN_FOLDER", help="run folder (--output-dir of train.py)")
    add("file", type=Path, metavar="MODEL.safetensors", help="the file to write")
    add("--onnx", type=Path, metavar="FILE", help="also write the image tower and the heads as an ONNX model")
    add("--classes", type=Path, metavar="FILE", help="class names of a new task, one per line")
    add("--task", default="", help="name of the new task")
    add("--template", default="", help="hand-made prompt of the new task (default: 'a photo of a {}.')")
    add("--features", choices=FEATURES, help="what describes the classes of the new task; required with --classes")
    add("--root", default="", help="folder of the data sets, for an old run without classes.json")
    add("opts", nargs="*", metavar="KEY VALUE", help="config keys, such as USE_CUDA False")
    return parser.parse_intermixed_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Raise ValueError for wrong arguments that can be found before anything is loaded."""
    for path, suffix in ((args.file, ".safetensors"), (args.onnx, ".onnx")):
        if path and path.suffix != suffix:
            raise ValueError(f"{path}: the name of the file must end in {suffix}")
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise ValueError(f"{path} is a folder, or in a folder that does not exist")
    check_path(args.file)
    if bool(args.classes) != bool(args.task):
        raise ValueError("--classes and --task go together: the class names of a new task and its name in words")
    if args.classes and not args.features:
        raise ValueError(
            "--features: choose what describes the new task's classes: context (the method's prompt), zero-shot (the "
            "hand-made prompt) or average (of the two); docs/inference.md says when to trust which"
        )
    if args.features and not args.classes:
        raise ValueError(f"--features: {args.features} is for a new task; give its class names with --classes")


def make_export(args: argparse.Namespace) -> Export:
    if not args.classes:
        return export_of(load_run(args.run, args.root, pairs(args.opts)), args.run)
    task = new_task(args.task, read_names(args.classes), args.template)
    trainer = load_run_for(args.run, task, pairs(args.opts))
    heads = new_task_heads(trainer)
    if args.features not in heads:
        raise ValueError(f"--features: {type(trainer).__name__} has no {args.features}; one of {', '.join(heads)}")
    return export_of(trainer, args.run, [heads[args.features]], features=args.features)


def size_in_words(file: Path) -> str:
    """A file's size in MiB, of a small one in KiB."""
    size = file.stat().st_size / 2**10
    return f"{size:.1f} KiB" if size < 1024 else f"{size / 2**10:.1f} MiB"


@one_line_errors(2)
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)
    check_args(args)
    made = make_export(args)
    write_export(args.file, made)
    classes = sum(len(task["classnames"]) for task in made.tasks)
    size = size_in_words(args.file)
    needs = f"needs {made.backbone['name']}, SHA-256 {made.backbone['sha256']}"
    if record_in(args.run).get("split") == NOT_TESTED:
        print(f"{args.run} was trained on all images, so it is not tested")
    print(f"{args.file}: {counted(len(made.tasks), 'task')}, {counted(classes, 'class')}, {size}; {needs}")
    if args.onnx:
        from softcpt.inference.onnx_model import write_onnx

        classifier = load_classifier(args.file, made.backbone["name"], "cpu", "fp32")
        difference = write_onnx(args.onnx, classifier)
        size = size_in_words(args.onnx)
        print(f"{args.onnx}: {size}; its logits differ from PyTorch's by {difference:.1e} at most")


if __name__ == "__main__":
    sys.exit(main())
