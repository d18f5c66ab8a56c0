# Shared by scripts/<method>/main.sh: `run_method METHOD DATASET SHOTS [CFG] [KEY VALUE ...]` trains one run per seed.
# Environment: DATA (folder of the data sets), OUT (results), SEEDS, VARIANT (the method's), PYTHON.

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CALLED_FROM="$PWD"

absolute() { case "$1" in /* | "~"*) echo "$1" ;; *) echo "$CALLED_FROM/$1" ;; esac; }
DATA="${DATA:+$(absolute "$DATA")}"; DATA="${DATA:-$ROOT/data}"
OUT="${OUT:+$(absolute "$OUT")}"; OUT="${OUT:-$ROOT/output}"
SEEDS="${SEEDS:-1 2 3}"
PYTHON="${PYTHON:-$(bash "$ROOT/scripts/setup.sh")}"

# usage METHOD: how the script that sources this file is called.
usage() {
    echo "usage: bash scripts/$1/main.sh DATASET SHOTS [CFG] [KEY VALUE ...]" >&2
    echo "  DATASET: $(cd "$ROOT/configs/datasets" && ls | sed 's/\.yaml$//' | tr '\n' ' ')" >&2
    exit 2
}

# run_method TRAINER VARIANT "FIXED KEY VALUE ..." DATASET SHOTS [CFG] [KEY VALUE ...]
run_method() {
    local trainer="$1" variant="$2" fixed="$3" dataset="$4" shots="$5"
    shift 5
    local cfg
    cfg=$([ "$dataset" = demo ] && echo tiny || echo rn50)
    if [ $(($# % 2)) -eq 1 ]; then cfg="$1"; shift; fi
    local label="$variant" i
    for ((i = 1; i < $#; i += 2)); do # each trailing pair makes it another variant
        local key="${!i}" j=$((i + 1))
        label="${label:+${label}_}${key##*.}-${!j//[^A-Za-z0-9.,=-]/-}"
    done
    local seed dir
    for seed in $SEEDS; do
        dir="$OUT/$dataset/$trainer/${cfg}_${shots}shots/${label:-default}/seed$seed"
        if [ -f "$dir/results.json" ]; then
            echo "done before: $dir"
            continue
        fi
        (cd "$ROOT" && "$PYTHON" train.py --root "$DATA" --seed "$seed" --trainer "$trainer" \
            --dataset-config-file "configs/datasets/$dataset.yaml" \
            --config-file "configs/trainers/$trainer/$cfg.yaml" --output-dir "$dir" \
            DATASET.NUM_SHOTS "$shots" FEATURES.DIR "$OUT/features" ${label:+TRAINER.LABEL "$label"} $fixed "$@")
    done
}
