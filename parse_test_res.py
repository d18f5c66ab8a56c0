"""Mean and standard deviation over seeds of the results in logs, with CoOp's command line and output.

    python parse_test_res.py output/demo/SoftCPT/tiny_16shots/NATA                # a folder of seed1/, seed2/, ...
    python parse_test_res.py output/demo/SoftCPT/tiny_16shots --multi-exp         # a folder of such folders
    python parse_test_res.py evaluations/demo --test-log --keyword macro_f1      # of --eval-only and of zero-shot CLIP

Reads logs of this project, of CoOp and of Dassl: log.txt in each folder, and the further logs of a resumed run. The
last result after the end of training counts, or the last of all with --test-log. A run that was trained once per task
has no log; its results.json is read instead. Exit status 1 if nothing is found.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -P leaves the script's folder out

from scripts.lib.command import one_line_errors

KEYWORDS = ("accuracy", "error", "macro_f1")  # of every log
ENDS_OF_TRAINING = ("Finish training", "Finished training")  # of new and old versions of Dassl


def last_value(log: str, keyword: str, test_log: bool = False) -> float | None:
    """The last "* keyword: 12.34%" of a log after the end of training, or with `test_log` after any result, or None."""
    pattern = re.compile(rf"\* {re.escape(keyword)}: ([\d.eE+-]+)%")
    begun, value = False, None
    for line in map(str.strip, log.splitlines()):
        begun = begun or line in (("=> result",) if test_log else ENDS_OF_TRAINING)
        found = pattern.search(line) if begun else None
        value = float(found.group(1)) if found else value
    return value


def value_of(run: Path, keyword: str, test_log: bool) -> tuple[Path, float] | None:
    """The file with a run's value, and the value; None if there is none."""
    logs = sorted(run.glob("log.txt*"))  # log.txt, then a log.txt-<time> for each time the run was resumed
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in logs]
    value = last_value("\n".join(texts), keyword, test_log)
    if value is not None:
        return logs[-1], value
    record = run / "results.json"
    if not logs and keyword == "accuracy" and record.is_file():
        metric = json.loads(record.read_text(encoding="utf-8"))["metric"]
        return None if metric is None else (record, float(metric))
    return None


def parse(directory: Path, keyword: str, test_log: bool, ci95: bool) -> float:
    """Print the values of the runs in a folder and their summary. Returns the mean; raises ValueError for no values."""
    print(f"Parsing files in {directory}")
    values, runs = [], folders(directory)
    if (directory / "log.txt").is_file() and not any((run / "log.txt").is_file() for run in runs):
        runs = [directory]  # a run itself
    for run in runs:
        found = value_of(run, keyword, test_log)
        if found is None:
            print(f"{run}: skipped, no {keyword} in a log.txt", file=sys.stderr)
            continue
        print(f"file: {found[0]}. {keyword}: {found[1]:.2f}%. ")
        values.append(found[1])
    if not values:
        hint = way_out(runs, keyword, test_log)
        raise ValueError(f"Nothing found in {directory}: no log.txt of its folders has a result ({keyword}){hint}")
    # As in CoOp the deviation of the population, while reports show that of a sample.
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    if ci95:
        deviation *= 1.96 / len(values) ** 0.5
    print("===")
    print(f"Summary of directory: {directory}")
    print(f"* {keyword}: {mean:.2f}% +- {deviation:.2f}%")
    print("===")
    return mean


def way_out(runs: list[Path], keyword: str, test_log: bool) -> str:
    """What to change in a call that finds no value in `runs`; "" if nothing helps."""
    if not test_log and any(value_of(run, keyword, True) for run in runs):
        return "; they are logs of evaluations, or of methods that are not trained: add --test-log"
    if any(value_of(inner, keyword, True) for run in runs for inner in folders(run)):
        return "; it holds folders of runs: name one of them, or add --multi-exp"
    if keyword not in KEYWORDS and any(value_of(run, "accuracy", True) for run in runs):
        return f"; --keyword is usually one of {', '.join(KEYWORDS)}"
    return ""


def folders(directory: Path) -> list[Path]:
    """The visible folders in a folder, sorted. Raises FileNotFoundError if it does not exist."""
    if not directory.is_dir():
        raise FileNotFoundError(f"no folder {directory}")
    return sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))


@one_line_errors(1)
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="folder with one folder per seed, or a run's own")
    parser.add_argument(
        "--ci95", action="store_true", help="show the 95%% confidence interval instead of the deviation"
    )
    parser.add_argument("--test-log", action="store_true", help="read logs of --eval-only and of zero-shot CLIP")
    parser.add_argument("--multi-exp", action="store_true", help="the folder holds several such folders")
    parser.add_argument("--keyword", default="accuracy", help="accuracy, error or macro_f1 (default: accuracy)")
    args = parser.parse_args(argv)
    options = args.keyword, args.test_log, args.ci95
    if not args.multi_exp:
        parse(args.directory, *options)
        return
    means = [parse(folder, *options) for folder in folders(args.directory)]
    if not means:
        raise ValueError(f"Nothing found in {args.directory}")
    print("Average performance")
    print(f"* {args.keyword}: {statistics.fmean(means):.2f}%")


if __name__ == "__main__":
    sys.exit(main())
