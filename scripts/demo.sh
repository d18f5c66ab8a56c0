#!/usr/bin/env bash
# The demo, offline: train zero-shot CLIP, CoOp (one context for all tasks; one per task) and SoftCPT on the drawn
# benchmark with 1, 4 and 16 shots and three seeds, then print a report and a prediction. A second call only prints these.
# JOBS: runs at a time (default: one per core, 8 at most). OUT, DATA, SEEDS: see scripts/lib/methods.py.
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/lib/python.sh"
DATA="$(absolute "${DATA:-$ROOT/data}")" OUT="$(absolute "${OUT:-$ROOT/output}")" SEEDS="${SEEDS:-1 2 3}"

"$PYTHON" "$ROOT/scripts/demo/render.py" --out "$DATA/demo"
"$PYTHON" "$ROOT/scripts/sweep.py" "$ROOT/configs/sweeps/demo.yaml" --benchmark demo --seeds $SEEDS ${JOBS:+--jobs "$JOBS"} \
    --data "$DATA" --out "$OUT" --to "$OUT/demo"

image="$DATA/demo/sign/images/red disc/test_000.png"
echo "SoftCPT, trained on 16 shots, classifies $image as:"
"$PYTHON" "$ROOT/scripts/predict.py" "$OUT/demo/SoftCPT/tiny_16shots/NATA/seed${SEEDS%% *}" "$image" \
    --task "coloured road sign recognition" --top 3
