#!/usr/bin/env bash
# Into an existing CoOp checkout: bash scripts/plug_into.sh PATH_TO_COOP [--remove]
# Adds SoftCPT, the other methods, the multi-task benchmarks and their configs as train_softcpt.py and the folder softcpt/,
# and changes no file that is there; run again, it updates its own files alone. Then, in the checkout, over CoOp's own
# data-set classes, splits, clip/ folder and upstream Dassl (where that works with the installed PyTorch):
#   python train_softcpt.py --root DATA --seed 1 --trainer SoftCPT --output-dir output/run DATASET.NUM_SHOTS 16 ...
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/plug_into.py" "$@"
