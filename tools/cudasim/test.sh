#!/usr/bin/env bash
# Builds and runs the simulator's own tests: tools/cudasim/test.sh [part of a test's name].
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
library=$("$here/build.sh" | tail -n 1)
out=$(dirname "$library")
cxx=${CUDASIM_CXX:-$(command -v g++ || command -v clang++)}
mkdir -p "$out/tests"
flags=(-std=c++20 -O1 -g1 -Wall -Wextra -Werror "-DTESTS_DIR=\"$here/tests\"" "-DKERNELS_DIR=\"$here/../../kernels\"")
todo=()
objects=()
for source in "$here"/tests/*.cpp; do
    object=$out/tests/$(basename "$source" .cpp).o
    objects+=("$object")
    if [ ! -e "$object" ] || [ "$source" -nt "$object" ] || [ "$here/tests/harness.h" -nt "$object" ] ||
        [ "$here/tests/cuda_names.h" -nt "$object" ]; then
        todo+=("$source")
    fi
done
compile() { "$1" "${@:3}" -c "$2" -o "$OUT/tests/$(basename "$2" .cpp).o"; }
export -f compile
export OUT=$out
if [ ${#todo[@]} -gt 0 ]; then
    printf '%s\n' "${todo[@]}" | xargs -P "$(nproc)" -I{} bash -c 'compile "$0" "$@"' "$cxx" {} "${flags[@]}"
fi
"$cxx" -o "$out/tests/cudasim_tests" "${objects[@]}" "$library" "-Wl,-rpath,$out"
"$out/tests/cudasim_tests" "$@"

# The compile gate: what is right passes, what the device cannot compile does not. (77: there is no clang.)
if [ $# -eq 0 ]; then
    gate=$here/../ptxgate/ptxgate.sh
    kernels=$here/tests/kernels
    status=0
    "$gate" "$kernels/common_all.cu" "--instance=copy_scaled<bf16, 8>" -- \
        "$kernels/clean.cu" "--instance=batch_norm<bf16, 4>" || status=$?
    if [ $status -ne 77 ]; then
        [ $status -eq 0 ]
        if "$gate" "$kernels/device_error.cu" >/dev/null 2>&1; then
            echo "ptxgate let a broken kernel pass"
            exit 1
        fi
    fi
fi
