#!/usr/bin/env bash
# KgCoOp: bash scripts/kgcoop/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: one context shared by all tasks (default: shared), per-task or per-class.
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" kgcoop "$@"
