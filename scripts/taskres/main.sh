#!/usr/bin/env bash
# TaskRes: bash scripts/taskres/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# One residual per class. DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" taskres "$@"
