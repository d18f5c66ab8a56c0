#!/usr/bin/env bash
# The main job, offline: zero-shot CLIP, CoOp (one context shared by all tasks; one per task) and SoftCPT on the built-in
# benchmark, 1, 4 and 16 shots, three seeds; then a table and a picture. A second call only prints the report.
# JOBS: runs at a time (default: the number of cores, 8 at most). OUT, DATA, SEEDS: see scripts/_common.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"

"$PYTHON" "$ROOT/scripts/demo/render.py" --out "$DATA/demo"
"$PYTHON" "$ROOT/scripts/sweep.py" "$ROOT/configs/sweeps/demo.yaml" --benchmark demo --seeds $SEEDS ${JOBS:+--jobs "$JOBS"} \
    --data "$DATA" --out "$OUT" --to "$OUT/demo"
