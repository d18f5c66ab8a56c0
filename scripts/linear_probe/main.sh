#!/usr/bin/env bash
# LinearProbe: bash scripts/linear_probe/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# One logistic regression per task; the data set needs validation images. DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" linear_probe "$@"
