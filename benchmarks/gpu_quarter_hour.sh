#!/usr/bin/env bash
# Measures a GPU once, in at most 15 minutes, with whichever frameworks are installed: send in the folder it writes.
#
#   benchmarks/gpu_quarter_hour.sh [FOLDER]
#
# PYTHON_TORCH, PYTHON_TENSORFLOW: a framework's Python; by default those of `tox run -e gpu`, otherwise python3.
# ALEXNET_DATA: CIFAR-10 for speedrun, as an archive, a zip or a folder; by default it is downloaded.
# DEVICE=cpu: a rehearsal with tiny networks. DRY_RUN=1: prints the steps with their limits, and runs none.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
out=${1:-runs/gpu-quarter-hour-$(date +%Y%m%d-%H%M%S)}
device=${DEVICE:-gpu} dry=${DRY_RUN:-}
width=1 batches=(1024 512) memory_batch=128 epochs=() tests=(tests -m gpu) promised=,gpu
if [ "$device" = cpu ]; then
  width=0.0625 batches=(16 8) memory_batch=8 tests=(tests/frameworks/test_devices.py -m "not gpu") promised=
  epochs=(--recipe.epochs 1 --train-images 256 --test-images 100 --recipe.precision float32)
fi

python_of() { # FRAMEWORK CHOSEN: the first of these Pythons that has it
  for python in "$2" ".tox/gpu-$1/bin/python" python3; do
    if [ -n "$python" ] && "$python" -c "import importlib.util as u, sys; sys.exit(not u.find_spec('$1'))" 2>/dev/null
    then echo "$python" && return; fi
  done
}
torch=$(python_of torch "${PYTHON_TORCH:-}") tensorflow=$(python_of tensorflow "${PYTHON_TENSORFLOW:-}")
[ -n "$torch$tensorflow" ] || { echo "Neither torch nor tensorflow is installed; see PYTHON_TORCH." >&2; exit 1; }
main=${torch:-$tensorflow} frameworks=() each=()
[ -n "$torch" ] && frameworks+=(torch) && each+=("torch=$torch")
[ -n "$tensorflow" ] && frameworks+=(tensorflow) && each+=("tensorflow=$tensorflow")
each=(--interpreter "${each[@]}")

step() { # NAME SECONDS COMMAND...: its output goes to a log, its time and exit code to steps.tsv
  local name=$1 limit=$2 start=$SECONDS code
  shift 2
  if [ -n "$dry" ]; then echo "$name: timeout $limit $*" && return; fi
  timeout --kill-after=5 "$limit" "$@" >"$out/logs/$name.log" 2>&1
  code=$?
  printf '%s\t%s\t%s\n' "$name" $((SECONDS - start)) "$code" | tee -a "$out/steps.tsv"
}

kill_and_resume() { # PYTHON FRAMEWORK: killed at its first checkpoint, and resumed to its end
  local run=$out/resumed-$2 started=$SECONDS pid
  "$1" -m alexnet_impl train --framework "$2" --variant cifar --width "$width" --dataset digits --device "$device" \
    --recipe.epochs 20 --output "$run" &
  pid=$!
  until [ -e "$run/checkpoint.safetensors" ] || [ $((SECONDS - started)) -ge 25 ]; do sleep 0.1; done
  kill -9 "$pid"
  wait "$pid"
  "$1" -m alexnet_impl train --resume "$run"
}
export -f kill_and_resume
export out device width

[ -n "$dry" ] || mkdir -p "$out/logs"
step doctor 30 "$main" -m alexnet_impl doctor "${each[@]}"
for framework in "${frameworks[@]}"; do
  python=${!framework}
  step "tests-$framework" 45 env ALEXNET_REQUIRE="$framework$promised" \
    "$python" -m pytest "${tests[@]}" -p no:cacheprovider
done
place=0
for variant in cifar torchvision; do
  batch=${batches[$place]} place=1
  for precision in float32 bfloat16 float16; do # both in turns, after the gate
    step "bench-$variant-$precision" 75 "$main" -m alexnet_impl bench "${frameworks[@]}" "${each[@]}" \
      --variant "$variant" --width "$width" --batch-size "$batch" --recipe.precision "$precision" --device "$device" \
      --warm-up 5 --rounds 6 --budget 60 --output "$out/bench-$variant-$precision"
  done
done
for framework in "${frameworks[@]}"; do
  python=${!framework}
  step "memory-227-$framework" 30 "$main" -m alexnet_impl bench "$framework" "${each[@]}" \
    --variant torchvision-same --width "$width" --batch-size "$memory_batch" --device "$device" \
    --warm-up 2 --rounds 3 --budget 20 --output "$out/memory-227-$framework"
  images=(--dataset cifar10)
  [ -n "${ALEXNET_DATA:-}" ] && images=(--data-dir "$ALEXNET_DATA")
  [ "$device" = cpu ] && images=(--dataset digits)
  step "speedrun-$framework" 75 "$python" -m alexnet_impl train --framework "$framework" --variant cifar --width "$width" \
    --recipe speedrun "${epochs[@]}" "${images[@]}" --device "$device" --output "$out/speedrun-$framework"
  step "kill-and-resume-$framework" 55 bash -c "kill_and_resume '$python' '$framework'"
done
[ -n "$dry" ] || "$main" benchmarks/gpu_table.py "$out" | tee "$out/table.md"
