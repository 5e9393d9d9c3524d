#!/usr/bin/env bash
# Builds libcudasim.so: tools/cudasim/build.sh [output folder]. Only files that changed are compiled again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/../../artifacts/cudasim}
cxx=${CUDASIM_CXX:-$(command -v g++ || command -v clang++)}
mkdir -p "$out/objects"
out=$(cd "$out" && pwd)
flags=(-std=c++20 -O2 -g1 -fPIC -fvisibility=hidden -pthread -Wall -Wextra -Werror
    "-DCUDASIM_DEVICE_DIR=\"$here/device\"")
newest_header=$(ls -t "$here"/src/*.h "$here"/include/*.h "$here"/device/*.h "$here"/build.sh | head -n 1)
todo=()
objects=()
for source in "$here"/src/*.cpp; do
    object=$out/objects/$(basename "$source" .cpp).o
    objects+=("$object")
    if [ ! -e "$object" ] || [ "$source" -nt "$object" ] || [ "$newest_header" -nt "$object" ]; then
        todo+=("$source")
    fi
done
if [ ${#todo[@]} -gt 0 ] || [ ! -e "$out/libcudasim.so" ]; then
    compile() { "$1" "${@:3}" -c "$2" -o "$OUT/objects/$(basename "$2" .cpp).o"; }
    export -f compile
    export OUT=$out
    if [ ${#todo[@]} -gt 0 ]; then
        printf '%s\n' "${todo[@]}" | xargs -P "$(nproc)" -I{} bash -c 'compile "$0" "$@"' "$cxx" {} "${flags[@]}"
    fi
    "$cxx" -shared -pthread -o "$out/libcudasim.so.new" "${objects[@]}" -ldl -lm
    mv "$out/libcudasim.so.new" "$out/libcudasim.so"
fi
echo "$out/libcudasim.so"
