#!/usr/bin/env bash
# MaPLe: bash scripts/maple/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# The prompts are shared by all tasks. Needs a ViT. DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" maple "$@"
