#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# benchmarks/gpu_report.sh OUT [DEVICE]: everything that needs a GPU, in one command of at most nine minutes.
#
# Builds the kernels into an empty cache (timed), runs the GPU tests, the small set of them under
# compute-sanitizer (memcheck, racecheck), and every benchmarks/bench_*.py that has a --device. Writes to
# OUT: report.md (everything, with a line per step), report.jsonl (all numbers), a log per step. If a step
# fails or runs out of time, that is reported and the next one runs. DEVICE cpu tries the script without a GPU.
set -uo pipefail
out=${1:?"usage: gpu_report.sh OUT [DEVICE]"}
device=${2:-cuda}
limit=${GPU_REPORT_SECONDS:-530}
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export STYLEGAN_OPS_CACHE=$(mktemp -d)
trap 'rm -rf "$STYLEGAN_OPS_CACHE"' EXIT
python=$(command -v python3 || command -v python)
steps=$out/steps.md
: > "$steps"

# step NAME SECONDS COMMAND...: at most SECONDS, and never past the limit of the whole.
step() {
    local name=$1 seconds=$2 start=$SECONDS code
    shift 2
    local left=$((limit - SECONDS))
    if ((left < 5)); then
        echo "| $name | not begun, the time was over | |" >> "$steps"
        return 1
    fi
    ((seconds > left)) && seconds=$left
    echo "== $name (at most $seconds s)"
    timeout -k 5 "$seconds" "$@" > "$out/$name.log" 2>&1
    code=$?
    local what=passed
    ((code == 124 || code == 137)) && what="stopped after $seconds s"
    ((code != 0 && code != 124 && code != 137)) && what="FAILED with $code"
    tail -n 3 "$out/$name.log"
    local last
    last=$(grep -v '^ *$' "$out/$name.log" | tail -n 1 | tr '|' '/' | cut -c1-150)
    echo "| $name | $what, $((SECONDS - start)) s | $last |" >> "$steps"
    return $code
}

sanitizer() {
    command -v compute-sanitizer && return
    "$python" -c 'from stylegan_ops.build.cuda_tools import find_cuda_home as f; print(f()[0] / "bin/compute-sanitizer")'
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null
step build 180 "$python" - "$device" <<'PYTHON'
import json, pathlib, sys, time, torch, stylegan_ops
from stylegan_ops.build import cache
cache.PREBUILT = pathlib.Path("/nowhere")  # what pip has built would hide the time of a build
reasons = []
for device in dict.fromkeys(["cpu", sys.argv[1]]):
    start = time.perf_counter()
    reasons.append(stylegan_ops.load(device))
    row = {"benchmark": "build", "library": device, "seconds": time.perf_counter() - start}
    print(json.dumps(row | {"problem": reasons[-1], **stylegan_ops.build_info().get(device, {})}))
sys.exit(any(reasons))
PYTHON
grep '^{"benchmark"' "$out/build.log" > "$out/build.jsonl"
step gpu_tests 150 "$python" -m pytest -q -n 0 -x --maxfail=20 -m gpu tests/ops tests/cuda_on_host tests/inference
tool=$(sanitizer)
if [ -x "$tool" ]; then
    filter=() # only the kernels of stylegan_ops, if the tool can select them: that is faster
    for option in --kernel-name=kernel_substring=stylegan --kernel-regex=kns=stylegan; do
        "$tool" "$option" true > /dev/null 2>&1 && filter=("$option") && break
    done
    for check in memcheck racecheck; do
        # Without the caching allocator every tensor has its own bounds.
        step "$check" 75 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 "$tool" "${filter[@]}" --tool "$check" --error-exitcode 9 \
            "$python" -m pytest -q -n 0 -x -p no:cacheprovider -m "gpu and sanitizer" tests/ops
    done
else
    echo "| compute-sanitizer | there is none | |" >> "$steps"
fi
benches=(benchmarks/bench_{upfirdn2d,filtered_lrelu,bias_act,train_step,warp_affine,augment,generator,modconv}.py) # first, should the time be over
for bench in benchmarks/bench_*.py; do
    [[ " ${benches[*]} " == *" $bench "* ]] || benches+=("$bench")
done
for bench in "${benches[@]}"; do
    name=$(basename "$bench" .py)
    grep -qE -- '"--device"|op_options' "$bench" || continue
    options=()
    [[ "$name" =~ augment|warp_affine ]] && options=(--resolutions 32,256)
    [ "$name" = bench_modconv ] && options=(--resolutions 1024 --repeats 7 --seconds 80)
    step "$name" 100 "$python" "$bench" --device "$device" --out "$out/$name" "${options[@]}"
    [ "$name" = bench_train_step ] && step bench_train_step_stylegan3 60 "$python" "$bench" --device "$device" \
        --out "$out/bench_train_step_stylegan3" --preset stylegan3-t --resolution 256 --precision auto --repeats 3
done
{
    echo "# Report of $(date +%F)"
    echo
    "$python" -c "import sys; sys.path.insert(0, 'benchmarks'); from harness import common; print(common.where('$device'))"
    echo
    echo "| step | result | last line |"
    echo "|---|---|---|"
    cat "$steps"
    for table in "$out"/bench_*.md; do
        [ -f "$table" ] && echo && cat "$table"
    done
} > "$out/report.md"
cat "$out"/build.jsonl "$out"/bench_*.jsonl 2>/dev/null > "$out/report.jsonl"
rm -f "$steps"
echo "== $out/report.md after $SECONDS s"
! grep -q "| \(FAILED\|stopped\|not begun\)" "$out/report.md"
