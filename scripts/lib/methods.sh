# Sourced by scripts/<method>/main.sh: runs train.py once per seed.
#
#     run_plain_method TRAINER "$@"      # a method without variants
#     run_context_method TRAINER "$@"    # VARIANT: one context for all tasks, for each task or for each class
#     run_method TRAINER VARIANT "KEY VALUE ..." "$@"
#
# "$@" is DATASET SHOTS [CFG] [KEY VALUE ...]. Environment: DATA (folder of the data sets), OUT (folder of the results),
# SEEDS, VARIANT, PYTHON, and SEPARATE=1 to train once per task, as the paper's baselines are trained, and merge the results
# of the tasks into one record. --data-changed and --test-again, anywhere in "$@", are those of train.py. Run folders and
# calls of train.py are those of softcpt/sweeps/jobs.py; a test compares them.

set -euo pipefail
unset CDPATH
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
CALLED_FROM="$PWD"
METHOD="$(basename "$(dirname "$0")")"

# fail MESSAGE: ends the script.
fail() { echo "error: $1" >&2; exit 2; }

# absolute PATH: relative to the caller's folder. A leading ~ that was quoted, so not expanded, is the home folder.
absolute() {
    case "$1" in
        "~" | "~/"*) [ -n "${HOME:-}" ] || fail "$1: HOME is not set"; echo "$HOME${1:1}" ;;
        /*) echo "$1" ;;
        *) echo "$CALLED_FROM/$1" ;;
    esac
}
DATA="${DATA:+$(absolute "$DATA")}"; DATA="${DATA:-$ROOT/data}"
OUT="${OUT:+$(absolute "$OUT")}"; OUT="${OUT:-$ROOT/output}"
SEEDS="${SEEDS:-1 2 3}"
SEPARATE="${SEPARATE:-0}"
case "$SEPARATE" in 0 | 1) ;; *) fail "SEPARATE=$SEPARATE is not one of 0, 1" ;; esac
AGAIN="${AGAIN:-}" # flags of train.py with which it, and not this script, decides whether a finished run is done
words=()
for word in "$@"; do
    case "$word" in --data-changed | --test-again) AGAIN+=" $word" ;; *) words+=("$word") ;; esac
done
set -- ${words[@]+"${words[@]}"} # of the script that sources this file

# find_python: sets PYTHON, which may take an installation, so that wrong arguments are answered first.
find_python() { PYTHON="${PYTHON:-$(bash "$ROOT/scripts/setup.sh")}"; }

# names FOLDER: the yaml files in a folder of configs/, without the ending.
names() { (cd "$ROOT/configs/$1" && ls) | sed 's/\.yaml$//' | tr '\n' ' '; }

# usage: how the script that sources this file is called.
usage() {
    echo "usage: bash scripts/$METHOD/main.sh DATASET ${SHOTS_WORD-SHOTS }[CFG] [KEY VALUE ...]" >&2
    echo "  DATASET: $(names datasets)" >&2
    exit 2
}

# wrong MESSAGE: says what is wrong with the arguments, and the usage.
wrong() {
    echo "error: $1" >&2
    usage
}

# keys_of TRAINER: the section of the config with its keys.
keys_of() { echo "TRAINER.$(tr '[:lower:]' '[:upper:]' <<<"$1")"; }

# digest TEXT: the first 8 hexadecimal digits of its SHA-256.
digest() { printf %s "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-8; }

# plain TEXT: TEXT with each run of other characters as a dash, byte by byte, 40 characters at most.
plain() { printf %s "$1" | LC_ALL=C tr -cs 'A-Za-z0-9.,=-' - | cut -c1-40; }

# label_of KEY VALUE: the part of a run folder's name for a trailing pair. A key of the method's own is named by its last
# part. A value with other characters, or a long one, ends in ~ and a digest, so that no two pairs have one name.
label_of() {
    local key="${1#"$(keys_of "$trainer")".}"
    if [[ "$2" =~ ^[A-Za-z0-9.,=-]{0,40}$ ]]; then echo "$key-$2"; else echo "$key-$(plain "$2")~$(digest "$2")"; fi
}

# benchmark_folder DATASET: its folder of results; for your own pictures it names their folder, too.
benchmark_folder() {
    local root
    grep -Eq '^ +NAME: *"?FolderTasks"? *(#.*)?$' "$ROOT/configs/datasets/$1.yaml" || { echo "$1"; return; }
    root="$(cd "$DATA" 2>/dev/null && pwd -P)" || root="$DATA"
    echo "$1-$(plain "${root##*/}")-$(digest "$root")"
}

# done_before FOLDER: says that the run is finished, and its result.
done_before() {
    local value untested=""
    value=$(sed -n 's/^ "metric": \([0-9.e+-]*\),$/\1/p' "$1/results.json")
    ! grep -q '^ "split": "none"' "$1/results.json" || value="" untested=" (trained on all images, not tested)"
    echo "done before: $1$untested${value:+ ($(LC_ALL=C printf '%.1f' "$value") %, the mean over its tasks)}"
}

# check_shots SHOTS: stops unless it is a number of images per class that a run can train on.
check_shots() { [[ "$1" =~ ^(-1|[1-9][0-9]*)$ ]] || wrong "SHOTS is $1; it is a number, at least 1, or -1 for all images"; }

# refuse_variant: stops where VARIANT is set for a method that has none.
refuse_variant() {
    local instead=""
    [ -n "${VARIANT:-}" ] || return 0
    case "$METHOD" in
        plot) instead="; PROMPTS sets its number of prompts, TRAINER.PLOT.N" ;;
        zeroshot) instead="; TRAINER.ZEROSHOTCLIP.ENSEMBLE True averages several templates" ;;
    esac
    fail "VARIANT=$VARIANT: $METHOD has no variants$instead"
}

# default_config DATASET TRAINER: the config if CFG is not given. Methods that tune the image tower take a ViT.
default_config() {
    case "$2=$1" in
        MaPLe=demo | PromptSRC=demo | CLIPLoRA=demo) echo tiny_vit ;;
        MaPLe=* | PromptSRC=* | CLIPLoRA=*) echo vit_b16 ;;
        *=demo) echo tiny ;;
        *) echo rn50 ;;
    esac
}

# refuse_order_of_coop [CTP NCTX SHOTS CSC]: answers a call in the order of CoOp's scripts, DATASET CFG CTP NCTX SHOTS CSC.
refuse_order_of_coop() {
    [[ ! "$shots" =~ ^-?[0-9]+$ && $# -ge 3 && "$3" =~ ^[0-9]+$ && "$dataset" != *[!A-Za-z0-9_]* ]] || return 0
    local key="$(keys_of "$trainer")" variant=""
    case "${4:-}" in [Tt]rue) variant="VARIANT=per-class " ;; esac
    wrong "SHOTS is $shots: here the number of shots is the second argument and the config the third, not as in \
CoOp's scripts. That call here: ${variant}bash scripts/$METHOD/main.sh $dataset $3 $shots $key.N_CTX $2 \
$key.CLASS_TOKEN_POSITION $1"
}

# run_method TRAINER VARIANT "FIXED KEY VALUE ..." DATASET SHOTS [CFG] [KEY VALUE ...]
run_method() {
    [ $# -ge 5 ] || usage
    local trainer="$1" variant="$2" fixed="$3" dataset="$4" shots="$5"
    shift 5
    refuse_order_of_coop "$@"
    [ -f "$ROOT/configs/datasets/$dataset.yaml" ] || wrong "no data set $dataset"
    [ "$trainer" = ZeroshotCLIP ] || check_shots "$shots"
    local cfg
    cfg=$(default_config "$dataset" "$trainer")
    if [ $(($# % 2)) -eq 1 ]; then
        cfg="$1"
        shift
        [ -f "$ROOT/configs/trainers/$trainer/$cfg.yaml" ] \
            || wrong "$trainer has no config $cfg; CFG is one of $(names "trainers/$trainer")"
    fi
    [ "$SEPARATE" = 0 ] || variant="separate${variant:+-$variant}"
    local label="$variant" i
    for ((i = 1; i < $#; i += 2)); do # each trailing pair makes it another variant
        local key="${!i}" j=$((i + 1))
        [[ "$key" =~ ^[A-Z][A-Z0-9_]*\.[A-Z0-9_.]+$ ]] || wrong "$key is no config key such as OPTIM.LR"
        label="${label:+${label}_}$(label_of "$key" "${!j}")"
        [ "$SEPARATE$key" != 1DATASET.TASKS ] \
            || fail "SEPARATE=1 trains on every task of the data set: DATASET.TASKS cannot be given"
    done
    find_python
    local seed dir tasks="" folder name checked="" runs call
    runs="$OUT/$(benchmark_folder "$dataset")/$trainer/${cfg}_${shots}shots/${label:-default}${HALF:+/$HALF}"
    check_finished "$@"
    for seed in $SEEDS; do
        dir="$runs/seed$seed"
        if [ "$SEPARATE" = 0 ] || merged "$dir"; then
            train_run "$dir" "" "$@"
            continue
        fi
        [ -n "$tasks" ] || tasks="$("$PYTHON" "$ROOT/scripts/lib/tasks.py" "$dataset" --root "$DATA")"
        while IFS=$'\t' read -r folder name; do
            train_run "$dir/tasks/$folder" "$name" "$@" </dev/null
        done <<<"$tasks"
        "$PYTHON" "$ROOT/scripts/lib/tasks.py" "$dataset" --root "$DATA" --merge "$dir"
    done
}

# check_needs [KEY VALUE ...]: stops before the script's first run if data or weights are missing, and names them all.
check_needs() {
    [ -z "$checked" ] || return 0
    checked=1
    "$PYTHON" "$ROOT/scripts/lib/needs.py" --root "$DATA" --config "$trainer/$cfg" "$dataset" "$@"
}

# merged FOLDER: whether a run that is trained once per task has a record that is as new as those of its tasks; not if
# these are to be made again.
merged() { [ -z "$AGAIN" ] && [ -f "$1/results.json" ] && [ -z "$(find "$1/tasks" -name results.json -newer "$1/results.json" 2>/dev/null)" ]; }

# check_finished [KEY VALUE ...]: stops if a finished run of run_method is one of other data, or of another config.
check_finished() {
    local seed dir separate="" calls=() words=()
    [ -z "$AGAIN" ] || return 0
    for seed in $SEEDS; do
        dir="$runs/seed$seed"
        [ -n "$(find "$dir" -name results.json -print 2>/dev/null | head -n 1)" ] || continue
        call_of "$dir" "" "$@"
        words=("${call[@]:1}") # without train.py
        calls+=("${#words[@]}" "${words[@]}")
    done
    [ ${#calls[@]} -gt 0 ] || return 0
    [ "$SEPARATE" = 0 ] || separate=--separate
    printf '%s\0' "${calls[@]}" | "$PYTHON" "$ROOT/scripts/lib/done.py" $separate || exit 2
}

# call_of FOLDER TASK [KEY VALUE ...]: sets `call` to train.py's call with the settings of run_method; an empty TASK stands
# for all.
call_of() {
    local dir="$1" task="$2"
    shift 2
    # base2new.sh sets HALF: base-classes or base-tasks to train, new-classes or new-tasks to evaluate the trained prompts.
    local half="" base load=()
    case "${HALF:-}" in
        *-classes) half="DATASET.SUBSAMPLE_CLASSES ${HALF%-*}" ;;
        *-tasks) half="DATASET.TASKS ${HALF%-*}" ;;
    esac
    if [[ "${HALF:-}" == new-* && "$trainer" != ZeroshotCLIP ]]; then
        base="/base-${HALF#new-}/"
        load=(--eval-only --model-dir "${dir/\/$HALF\//$base}")
    fi
    call=(train.py --root "$DATA" --seed "$seed" --trainer "$trainer" \
        --dataset-config-file "configs/datasets/$dataset.yaml" \
        --config-file "configs/trainers/$trainer/$cfg.yaml" --output-dir "$dir" \
        ${load[@]+"${load[@]}"} $AGAIN DATASET.NUM_SHOTS "$shots" FEATURES.DIR "$OUT/features" \
        ${label:+TRAINER.LABEL "$label"} ${task:+DATASET.TASKS "$task"} $half $fixed "$@")
}

# train_run FOLDER TASK [KEY VALUE ...]: makes the call of call_of, unless its run is finished.
train_run() {
    if [ -z "$AGAIN" ] && [ -f "$1/results.json" ]; then
        done_before "$1"
        return
    fi
    check_needs "${@:3}"
    call_of "$@"
    (cd "$ROOT" && "$PYTHON" "${call[@]}")
}

# run_plain_method TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]
run_plain_method() {
    refuse_variant
    run_method "$1" "" "" "${@:2}"
}

# run_context_method TRAINER DATASET SHOTS [CFG] [KEY VALUE ...]: VARIANT is shared (default: one context for all tasks),
# per-task or per-class.
run_context_method() {
    local variant="${VARIANT:-shared}" fixed=""
    case "$variant" in
        shared) ;;
        per-task) fixed="$(keys_of "$1").TSC True" ;;
        per-class) fixed="$(keys_of "$1").CSC True" ;;
        *) fail "VARIANT=$variant is not one of shared, per-task, per-class" ;;
    esac
    run_method "$1" "$variant" "$fixed" "${@:2}"
}
