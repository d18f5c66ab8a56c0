#!/usr/bin/env bash
# Test and measure on a GPU, in under ten minutes on an H100 or H200 and without a network: the tests that need a GPU, a
# step of every method that learns, the text encoder, SoftCPT end to end at the sizes of the paper's benchmarks, and several
# runs of a sweep at a time. It prints the tables of docs/gpu.md. Without a GPU it does the same at toy size, which shows
# that the script works. Exit status 1 if a part fails; the others go on.
#     bash scripts/bench/gpu.sh | tee gpu.txt
# DATA, OUT: folders of the demo's pictures and of the results (default: data, and a temporary one).
[ -n "${BASH_VERSION:-}" ] || { echo "error: $0 needs bash: bash $0 ..." >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/../lib/python.sh"
[ -n "${OUT:-}" ] || { OUT="$(mktemp -d)" && trap 'rm -rf "$OUT"' EXIT; }
DATA="$(absolute "${DATA:-$ROOT/data}")" OUT="$(absolute "$OUT")" FAILED=()
mkdir -p "$OUT"
export PYTHONWARNINGS=ignore

# part TITLE COMMAND...: its output below a title, with the seconds that it took.
part() {
    local start=$SECONDS
    printf '\n## %s\n\n' "$1"
    "${@:2}" || FAILED+=("$1")
    printf '\n(%s s)\n' $((SECONDS - start))
}

# together AT_A_TIME FLAG: four runs of a sweep that share the device.
together() {
    local start=$SECONDS
    "$PYTHON" "$ROOT/scripts/sweep.py" "$ROOT/configs/sweeps/demo.yaml" --benchmark demo --only method=SoftCPT \
        --shots "$SHOTS" --seeds 1 2 3 4 --steps "$STEPS" --data "$DATA" --out "$OUT/$1" "$2" "$1" >"$OUT/log" 2>&1 ||
        { tail -n 40 "$OUT/log" && return 1; }
    echo "| $1 at a time | $((SECONDS - start)) s |"
}

sweep() {
    "$PYTHON" "$ROOT/scripts/demo/render.py" --out "$DATA/demo" >/dev/null &&
        printf '| four runs of SoftCPT, %s steps each | in all |\n|---|---|\n' "$STEPS" &&
        together 1 "$1" && together 4 "$1"
}

cd "$ROOT"
if "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader || true
    SHOTS=16 STEPS=500
    step=(--backbone ViT-B/16) text=(--precs fp32,bf16 --cases plant6,general10) run=(--backbone RN50) together=--per-gpu
    text_methods=SoftCPT,CoOp,CoCoOp,KgCoOp,ProGrad,PLOT,TaskRes,TipAdapterF,ProLIP image_methods=CLIPLoRA,MaPLe,PromptSRC
else
    echo "There is no GPU: all figures below are of the CPU, at toy size."
    SHOTS=1 STEPS=5
    step=(--backbone toy --case toy --batch 4 --repeats 1) text=(--precs bf16 --backbone toy --cases toy --repeats 1)
    run=(--backbone toy --cases toy --shots 1) together=--jobs
    text_methods=SoftCPT image_methods=CLIPLoRA
fi
step=("$PYTHON" scripts/bench/train_step.py --markdown --no-plain "${step[@]}")
part "Tests" "$PYTHON" -m pytest -q tests/trainers/test_gpu.py
part "A step on cached features, bf16" "${step[@]}" --views --prec bf16 --methods "$text_methods"
part "A step on images, bf16" "${step[@]}" --prec bf16 --methods "$image_methods"
part "A step on cached features, fp32" "${step[@]}" --views --prec fp32 --methods SoftCPT
part "A step on cached features, fp16" "${step[@]}" --views --prec fp16 --methods SoftCPT
part "Text encoder, forward and backward" \
    "$PYTHON" scripts/bench/text_encoder.py --markdown --plain-limit 0 "${text[@]}"
part "SoftCPT end to end" "$PYTHON" scripts/bench/end_to_end.py --markdown "${run[@]}"
part "Several runs at a time" sweep "$together"
if [ ${#FAILED[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${FAILED[@]}" >&2
    exit 1
fi
