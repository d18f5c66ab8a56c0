"""Report all finished runs below a folder: tables, tests, pictures and a page for the browser.

    python scripts/report.py output [--to DIR] [--sweep configs/sweeps/table1.yaml] [--paper]
    python scripts/report.py output/demo --compare "SoftCPT NATA" "CoOp shared"    # does A beat B?
    python scripts/report.py output/demo --joint-vs-separate SoftCPT               # did the tasks help each other?
    python scripts/report.py output/demo --recommend                               # which to pick? Writes nothing

Reads every results.json, prints the tables, and writes report.md, report.csv, report.tex, report.html, accuracy.png and
tasks.png into the same folder, or DIR. Needs neither a GPU nor the data. docs/reports.md explains the files and the
tests.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from softcpt.reports import REPORT_FILES, recommendation, write_report
from softcpt.sweeps import read_sweep


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("out_dir", type=Path, metavar="OUT_DIR", help="folder with runs, e.g. output")
    add("--to", type=Path, metavar="DIR", help="where to write the report (default: OUT_DIR)")
    add("--sweep", type=Path, metavar="YAML", help="only the sweep's methods, with its labels and order")
    add("--shots", type=int, nargs="+", default=[], help="only runs with these numbers of shots, and zero-shot")
    add("--paper", action="store_true", help="add the paper's numbers to those of its benchmarks")
    add("--compare", nargs=2, action="append", default=[], metavar=("A", "B"), help="test: does A beat B? Repeatable")
    add("--joint-vs-separate", default="", metavar="METHOD", help="METHOD on all tasks at once against METHOD on each")
    add("--recommend", action="store_true", help="only print which method to pick, by the validation shots")
    add("--data", type=Path, metavar="DIR", help="folder of the data, for images of mistakes (default: the runs' own)")
    return parser.parse_args(argv)


@one_line_errors(1)
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    methods = read_sweep(args.sweep) if args.sweep else ()
    if args.recommend:
        print(recommendation(args.out_dir, methods, args.shots))
        return
    to = args.to or args.out_dir
    chosen = {"shots": args.shots, "compare": args.compare, "joint": args.joint_vs_separate, "data": args.data}
    print(write_report(args.out_dir, to, methods, args.paper, **chosen))
    print(f"Written to {to}: {', '.join(REPORT_FILES)}")


if __name__ == "__main__":
    sys.exit(main())
