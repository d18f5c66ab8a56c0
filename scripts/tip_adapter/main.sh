#!/usr/bin/env bash
# Tip-Adapter: bash scripts/tip_adapter/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# A cache of the shots. Needs validation images, or TRAINER.TIPADAPTER.SEARCH False.
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" tip_adapter "$@"
