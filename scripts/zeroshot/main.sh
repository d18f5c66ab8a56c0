#!/usr/bin/env bash
# Zero-shot CLIP: bash scripts/zeroshot/main.sh DATASET [CFG] [KEY VALUE ...]
# It learns nothing: it makes one run, whatever SEEDS is. A number after DATASET, as the other methods' scripts have, is
# ignored. DATA, OUT: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" zeroshot "$@"
