#!/usr/bin/env bash
# The main job, offline: zero-shot CLIP, CoOp (one context shared by all tasks; one per task) and SoftCPT on the built-in
# benchmark, 1, 4 and 16 shots, three seeds; then a table and a picture. A second call only prints the report.
# JOBS: runs at a time (default: the number of cores, 8 at most). OUT, DATA, SEEDS: see scripts/_common.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/_common.sh"
export PYTHON DATA OUT
CORES="$("$PYTHON" -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')"
JOBS="${JOBS:-$((CORES < 8 ? CORES : 8))}"
# One thread a run: these models are too small for more, and several runs go on side by side.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((CORES > JOBS ? CORES / JOBS : 1))}"

"$PYTHON" "$ROOT/scripts/demo/render.py" --out "$DATA/demo"
{
    echo "zeroshot - 0 1"
    for shots in 16 4 1; do # the long runs first
        for seed in $SEEDS; do
            echo "softcpt NATA $shots $seed"
            echo "coop per-task $shots $seed"
            echo "coop shared $shots $seed"
        done
    done
} | xargs -P "$JOBS" -L 1 bash -c '
    log="$(mktemp)"
    if VARIANT="$2" SEEDS="$4" bash "$0/scripts/$1/main.sh" demo "$3" >"$log" 2>&1; then
        echo "finished: $1 $2, $3 shots, seed $4"
        rm "$log"
    else
        tail -n 20 "$log" >&2
        echo "failed: $1 $2, $3 shots, seed $4 (all of its output: $log)" >&2
        exit 255
    fi' "$ROOT"
"$PYTHON" "$ROOT/scripts/report.py" "$OUT/demo"
