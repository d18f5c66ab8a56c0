"""Show what the prompts of a finished run have learned, and which tasks help each other.

    python scripts/interpret.py RUN_FOLDER [--words 5] [--to FOLDER]
    python scripts/interpret.py RUN_FOLDER --gains output/demo      also from the runs of a leave-one-out sweep
    python scripts/interpret.py --gains output/demo --to FOLDER     only from these

Writes interpret.json, pictures and interpret.md, by default into RUN_FOLDER/interpret/: the words nearest to each
context token, the similarity of SoftCPT's task features and of the tasks' contexts, and how each task's accuracy
changes when another task is left out of training. See docs/interpreting.md. Exit status: 0; 2 for wrong arguments, and
for methods without contexts.
"""

import argparse
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from softcpt.evaluation.classes import selection_in
from softcpt.evaluation.records import read_records
from softcpt.reports.interpretation import FOLDER, similarity_entry, write_interpretation
from softcpt.reports.leave_one_out import gains_of

FIRST = "Only the first layer is shown: the prompts of deeper layers replace hidden states, which are near no word."
NOTES = {
    "CoCoOp": "The context is shown before the image's shift is added to it.",
    "MaPLe": FIRST,
    "PromptSRC": FIRST,
}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN_FOLDER", help="run folder (--output-dir of train.py)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="folder to write to (RUN_FOLDER/interpret)")
    parser.add_argument("--words", type=int, default=5, help="words per token (5)")
    parser.add_argument("--root", default="", help="folder of the data sets (the run's)")
    parser.add_argument("--gains", type=Path, metavar="FOLDER", help="folder with the runs of a leave-one-out sweep")
    return parser.parse_args(argv)


def look_inside(run: Path, root: str, n_words: int) -> dict:
    """The content of interpret.json for a run. Raises ValueError for a method without contexts."""
    from trainers.finished.contexts import Vocabulary, contexts_of, cosines, task_contexts, task_features_of
    from trainers.finished.load import load_run

    trainer = load_run(run, root)
    contexts, vocabulary = contexts_of(trainer), Vocabulary(trainer.clip)
    tasks, name = [task.name for task in trainer.tasks], type(trainer).__name__
    entries = []
    for context in contexts:
        distances, indices = vocabulary.nearest(context.tokens, n_words)
        tokens = [
            {"position": i, "words": list(map(vocabulary.word, row)), "distances": [round(value, 4) for value in own]}
            for i, (row, own) in enumerate(zip(indices.tolist(), distances.tolist()), start=1)
        ]
        entries.append({"owner": context.owner, "tokens": tokens})
    cfg = trainer.cfg
    variant = cfg.TRAINER.LABEL or trainer.variant
    found = {
        "title": f"{name} {variant}".strip(),
        "trainer": name,
        "variant": variant,
        "dataset": selection_in(run).get("NAME", ""),
        "shots": cfg.DATASET.NUM_SHOTS,
        "seed": cfg.SEED,
        "backbone": cfg.MODEL.BACKBONE.NAME,
        "vocabulary": len(vocabulary.ids),
        "word_distance": round(vocabulary.typical_distance(), 4),
        "note": NOTES.get(name, ""),
        "contexts": entries,
    }
    vectors = {"task_features": task_features_of(trainer), "task_contexts": task_contexts(contexts, len(tasks))}
    for key, rows in vectors.items():
        if rows is not None:
            found[key] = similarity_entry(cosines(rows).numpy(), tasks)
    return found


@one_line_errors(2)
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    logging.basicConfig(level=logging.ERROR)
    if args.words < 1:
        raise ValueError(f"--words: {args.words} is not at least 1")
    if not args.run and not (args.gains and args.to):
        raise ValueError("name a run folder, or with --gains alone the folder to write to (--to)")
    to = args.to or args.run / FOLDER
    if to.exists() and not to.is_dir():
        raise ValueError(f"--to: {to} is a file")
    gains = gains_of(read_records(args.gains)) if args.gains else []
    found = look_inside(args.run, args.root, args.words) if args.run else {}
    paths = write_interpretation(to, found, gains)
    for context in found.get("contexts", [])[:3]:
        print(f"{context['owner']}: " + " | ".join(", ".join(token["words"][:3]) for token in context["tokens"]))
    print(*(f"Saved as {path}" for path in paths), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
