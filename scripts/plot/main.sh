#!/usr/bin/env bash
# PLOT: bash scripts/plot/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# PROMPTS: number of prompts, TRAINER.PLOT.N (default 4; 2 in the paper's General-10). All tasks share them.
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" plot "$@"
