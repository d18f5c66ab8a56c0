#!/usr/bin/env bash
# Zero-shot CLIP: bash scripts/zeroshot/main.sh DATASET [CFG] [KEY VALUE ...]
# It learns nothing: it makes one run, whatever SEEDS is. A number after DATASET, as the other methods' scripts have, is
# ignored. DATA, OUT: see scripts/lib/methods.sh.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/methods.sh"
SHOTS_WORD=""
[ $# -ge 1 ] || usage
DATASET="$1"
shift
[[ ! "${1:-}" =~ ^-?[0-9]+$ ]] || shift
SEEDS=1 run_plain_method ZeroshotCLIP "$DATASET" 0 "$@"
