#!/usr/bin/env bash
# CLIP-LoRA: bash scripts/clip_lora/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# The updates are shared by all tasks. It is made for ViTs; with a ResNet only the text tower is updated.
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" clip_lora "$@"
