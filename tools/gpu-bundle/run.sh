#!/usr/bin/env bash
# Proves and times the engine on this machine's GPU: ./run.sh [RESULTS]
# Needs a driver and the CUDA libraries (toolkit or pip wheels), nothing else. Ends non-zero when anything differs.
# RESULTS gets doctor.json, kernels.json, tests.txt, train-*.txt, train-step*.txt, bench.json, bench.txt and results.json.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-$here/results}
mkdir -p "$results"
export DOTNET_ROOT=$here/dotnet PATH=$here/dotnet:$PATH DOTNET_CLI_TELEMETRY_OPTOUT=1
gpuengine() { dotnet "$here/tests/gpuengine.dll" "$@"; }
# Compiled once for all parts.
export GPUENGINE_KERNEL_CACHE=${GPUENGINE_KERNEL_CACHE:-$here/kernel-cache}
failed=()
deadline=460
part() { # NAME SECONDS COMMAND...: runs one part, shows how it ended; all parts together end within 8 minutes
    local name=$1 limit=$2 start=$SECONDS; shift 2
    [ $((deadline - start)) -lt "$limit" ] && limit=$((deadline - start))
    if [ "$limit" -lt 5 ]; then echo "FAIL  $name (not begun: $deadline s have passed)"; failed+=("$name"); return; fi
    if timeout "$limit" "$@"; then echo "ok    $name ($((SECONDS - start)) s)"; else echo "FAIL  $name (code $?, $((SECONDS - start)) s)"; failed+=("$name"); fi
}
export -f gpuengine; export here results
echo "== $(date -u +%FT%TZ)  $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1)"
part doctor 30 bash -o pipefail -c 'gpuengine doctor --json > "$results/doctor.json" && grep -o "\"verdict\": \"[^\"]*\"" "$results/doctor.json"'
part kernels 120 bash -o pipefail -c 'gpuengine kernels check --device cuda --steps --json "$results/kernels.json" | tail -n 30'
part tests 150 bash -o pipefail -c 'cd "$here/tests" && GPUENGINE_TEST_DEVICE=cuda dotnet GpuEngine.Tests.dll --filter-namespace "GpuEngine.Tests.Cuda*" > "$results/tests.txt" 2>&1; code=$?; grep -E "^(failed|  total|  failed|  succeeded|  skipped)" "$results/tests.txt" | head -n 20; exit $code'
for model in "mlp --depth 20 --width 256" "lenet5"; do
    name=train-${model%% *}
    part "$name" 60 bash -o pipefail -c 'rm -rf "$results/run-$0"; gpuengine train --device cuda --model $1 --epochs 2 --limit 25600 --data shapeset --out "$results/run-$0" > "$results/$0.txt" && grep -E "^epoch|test error" "$results/$0.txt"' "$name" "$model"
done
if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    for form in cuda cuda-compiled; do
        part "train-step against $form" 75 bash -o pipefail -c 'dotnet "$here/bench/GpuEngine.Bench.dll" train-step --device cuda --seconds 30 --peer $0 --python "$(command -v python3)" | tee "$results/train-step-$0.txt"' "$form"
    done
    part "kernels against torch" 120 bash -o pipefail -c 'dotnet "$here/bench/GpuEngine.Bench.dll" kernels --within 60 --peer eager,cudnn --python "$(command -v python3)" --json "$results/bench.json" | tee "$results/bench.txt"'
else
    part "train-step alone" 60 bash -o pipefail -c 'dotnet "$here/bench/GpuEngine.Bench.dll" train-step --device cuda --alone | tee "$results/train-step.txt"'
    part "kernels alone" 90 bash -o pipefail -c 'dotnet "$here/bench/GpuEngine.Bench.dll" kernels --within 60 --peer none --json "$results/bench.json" | tee "$results/bench.txt"'
fi
printf '{"finished": "%s", "seconds": %d, "failed": [%s]}\n' "$(date -u +%FT%TZ)" "$SECONDS" "$(printf '"%s",' "${failed[@]:-}" | sed 's/,$//; s/^""$//')" > "$results/results.json"
echo "== ${#failed[@]} of the parts failed; $SECONDS s; see $results"
[ "${#failed[@]}" -eq 0 ]
