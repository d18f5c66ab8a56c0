"""Say what a method's script needs and this machine lacks, before its first run: data sets and CLIP weights.

    python scripts/lib/needs.py --root data --config CoOp/tiny demo [KEY VALUE ...]

Exit status: 0; 1 with a line for each data set, with the command that gets it, and for each file of weights.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from scripts.lib.missing import BACKBONE, backbone_in, missing, refusal


@one_line_errors(1)
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET", help="name of a file in configs/datasets")
    parser.add_argument("--root", required=True, help="folder of the data sets")
    parser.add_argument("--config", required=True, metavar="TRAINER/CFG", help="file below configs/trainers")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config pairs of the runs")
    args = parser.parse_args(argv)
    given = dict(zip(args.opts[::2], args.opts[1::2]))
    backbone = given.get(BACKBONE) or backbone_in(*args.config.split("/"))
    lacking = missing([args.dataset], args.root, [backbone] if backbone else [])
    if lacking:
        raise FileNotFoundError(refusal(lacking))


if __name__ == "__main__":
    sys.exit(main())
