#!/usr/bin/env bash
# SoftCPT: bash scripts/softcpt/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]
# VARIANT: NATA (default), NATS, CATA, CATS, CSTA, CSTS. DATA, OUT, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
exec "$PYTHON" "$ROOT/scripts/lib/methods.py" softcpt "$@"
