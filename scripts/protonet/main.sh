#!/usr/bin/env bash
# ProtoNet: bash scripts/protonet/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: fixed (default: the scale of the logits is CLIP's), fine-tuned (it is learned).
# DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" protonet "$@"
