#!/usr/bin/env bash
# Plug this project into a CoOp checkout: bash scripts/plug_into.sh PATH_TO_COOP [--remove]
# Adds the methods, the multi-task benchmarks and their configs as train_softcpt.py and the folder softcpt/. No existing
# file is changed; a second call updates the files of the first. Then train in the checkout, with CoOp's own data-set
# classes, splits and clip/ folder, and with upstream Dassl if it works with the installed PyTorch:
#   python train_softcpt.py --root DATA --seed 1 --trainer SoftCPT --output-dir output/run DATASET.NUM_SHOTS 16 ...
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "${BASH_SOURCE[0]}")/plug_into.py" "$@"
