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
for source in "$here"/tests/*.cpp; do
    object=$out/tests/$(basename "$source" .cpp).o
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
"$cxx" -o "$out/tests/cudasim_tests" "$out"/tests/*.o "$library" "-Wl,-rpath,$out"
"$out/tests/cudasim_tests" "$@"
