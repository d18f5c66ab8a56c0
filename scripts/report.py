"""Tables and a picture of all finished runs below a folder.

    python scripts/report.py output [--to DIR] [--sweep configs/sweeps/table1.yaml] [--paper]

Reads every results.json, prints the tables, and writes report.md, report.csv and accuracy.png (into the same folder,
or DIR). Reads and writes files only; needs neither a GPU nor the data.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments.reports import write_report
from experiments.sweeps import read_sweep


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder with runs, e.g. output")
    parser.add_argument("--to", type=Path, metavar="DIR", help="where to write the report (default: OUT_DIR)")
    parser.add_argument(
        "--sweep", type=Path, metavar="YAML", help="only the sweep's methods, with its labels and order"
    )
    parser.add_argument("--paper", action="store_true", help="the paper's numbers beside those of its benchmarks")
    args = parser.parse_args(argv)
    to = args.to or args.out_dir
    try:
        text = write_report(args.out_dir, to, read_sweep(args.sweep) if args.sweep else (), args.paper)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(text)
    print(f"Written to {to}: report.md, report.csv, accuracy.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
