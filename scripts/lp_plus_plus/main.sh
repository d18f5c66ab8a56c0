#!/usr/bin/env bash
# LP++: bash scripts/lp_plus_plus/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# One probe per task, which combines image and text features. DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" lp_plus_plus "$@"
