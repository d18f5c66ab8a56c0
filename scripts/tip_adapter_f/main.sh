#!/usr/bin/env bash
# Tip-Adapter-F: bash scripts/tip_adapter_f/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# A cache of the shots with learned keys. Needs validation images, or TRAINER.TIPADAPTERF.SEARCH False.
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" tip_adapter_f "$@"
