#!/usr/bin/env bash
# ProLIP: bash scripts/prolip/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# All tasks share the projection of the image tower. DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" prolip "$@"
