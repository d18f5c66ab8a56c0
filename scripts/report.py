"""Tables and a picture of all finished runs below a folder.

    python scripts/report.py output [--to DIR]

Reads every results.json, prints the tables, and writes report.md, report.csv and accuracy.png (into the same folder,
or DIR). Reads and writes files only; needs neither a GPU nor the data.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from evaluation.plots import accuracy_figure, png
from evaluation.records import read_records, write_atomically
from evaluation.tables import csv, results_frame, section_report, sections, summarise


def report(out_dir: Path, to: Path) -> str:
    """Write the report of `out_dir` into `to` and return its text. Raises ValueError if there is no finished run."""
    records = read_records(out_dir)
    if not records:
        raise ValueError(f"{out_dir}: no results.json below this folder, so no finished run to report")
    summary = summarise(results_frame(records))
    text = "\n\n".join(["# Results", *(section_report(name, rows) for name, rows in sections(summary))]) + "\n"
    to.mkdir(parents=True, exist_ok=True)
    write_atomically(to / "accuracy.png", png(accuracy_figure(summary)))
    write_atomically(to / "report.csv", csv(summary))
    write_atomically(to / "report.md", text.replace("\n", "\n\n![Accuracy against shots](accuracy.png)\n", 1))
    return text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder with runs, e.g. output")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to write the report (default: OUT_DIR)")
    args = parser.parse_args(argv)
    to = args.to or args.out_dir
    try:
        text = report(args.out_dir, to)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    print(f"Written to {to}: report.md, report.csv, accuracy.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
