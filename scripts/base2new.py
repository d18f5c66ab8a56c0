"""Print the tables of base-to-new runs below a folder.

    python scripts/base2new.py output/demo [--halves tasks] [--shots 4]

Reads the results.json of every base and new half, and prints base, new and their harmonic mean H. See
scripts/base2new.sh.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from softcpt.evaluation.records import read_records
from softcpt.reports.base_to_new import HALVES, base_to_new_report


@one_line_errors(1)
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder with runs, e.g. output/demo")
    parser.add_argument("--halves", choices=HALVES, default="classes", help="what was split (default: classes)")
    parser.add_argument("--shots", type=int, help="only runs with this number of shots, and zero-shot")
    args = parser.parse_args(argv)
    print(base_to_new_report(read_records(args.out_dir), args.halves, args.shots))


if __name__ == "__main__":
    sys.exit(main())
