#!/usr/bin/env bash
# Compiles kernel sources to PTX with clang, without the CUDA toolkit. Nothing runs: this proves that the device branch
# compiles.
#
#   tools/ptxgate/ptxgate.sh [-a sm_80,sm_90] [-o FOLDER] FILE.cu [options for the compiler ...] [-- FILE.cu ...]
#   tools/ptxgate/ptxgate.sh --list FILE        one compilation per line: FILE.cu options...
#
# A template is compiled when it is instantiated: pass --instance='kernel<float, 4>' for each name expression that NVRTC
# would be given.
# Exit status: 0 all compiled, 1 some did not (their log is printed), 77 clang is not there.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
clang=${PTXGATE_CLANG:-$(command -v clang++-19 || command -v clang++-20 || command -v clang++ || true)}
archs=sm_80,sm_90
out=
list=
while [ $# -gt 0 ]; do
    case $1 in
        -a) archs=$2; shift 2 ;;
        -o) out=$2; shift 2 ;;
        --list) list=$2; shift 2 ;;
        *) break ;;
    esac
done
if [ -z "$clang" ]; then
    echo "ptxgate: skipped, clang was not found"
    exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[ -n "$out" ] || out=$scratch
mkdir -p "$out"
compiled=0
failed=0

gate() {  # FILE.cu options...
    local file=$1 name arch
    shift
    local options=() instances=() standard=c++17  # NVRTC's own default
    for option in "$@"; do
        case $option in
            --instance=*) instances+=("${option#--instance=}") ;;
            --std=*|-std=*) standard=${option#*=} ;;
            --gpu-architecture=*|-arch=*|--fmad=*|-lineinfo) ;;  # NVRTC's own
            --use_fast_math|-use_fast_math|--extra-device-vectorization) ;;
            --define-macro=*) options+=("-D${option#--define-macro=}") ;;
            --include-path=*) options+=("-I${option#--include-path=}") ;;
            *) options+=("$option") ;;
        esac
    done
    name=$(basename "$file" .cu)
    local source=$file
    if [ ${#instances[@]} -gt 0 ]; then
        # Taking a kernel's address is what instantiates it.
        source=$scratch/$name-$compiled.cu
        {
            echo "#include \"$(realpath "$file")\""
            local i=0
            for instance in "${instances[@]}"; do
                echo "void ptxgate_instance_$i() { [[maybe_unused]] auto* kernel = &${instance#&}; }"
                i=$((i + 1))
            done
        } >"$source"
    fi
    for arch in ${archs//,/ }; do
        local log=$scratch/log
        if "$clang" -x cuda --cuda-device-only -nocudainc -nocudalib "--cuda-gpu-arch=$arch" \
            -Xclang -target-feature -Xclang +ptx80 "-std=$standard" -O2 -ffp-contract=fast -fno-builtin -nostdinc -nostdinc++ \
            -Wall -Wno-unused -Wno-unknown-cuda-version -Wno-pass-failed -include "$here/prelude.h" "-I$here/../../kernels" ${options[@]+"${options[@]}"} \
            -S -o "$out/$name.$arch.ptx" "$source" >"$log" 2>&1; then
            compiled=$((compiled + 1))
            if [ -s "$log" ]; then echo "ptxgate: $file for $arch:"; cat "$log"; fi
        else
            failed=$((failed + 1))
            echo "ptxgate: $file does not compile for $arch with: ${options[*]-} ${instances[*]-}"
            cat "$log"
        fi
    done
}

if [ -n "$list" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        [ -z "$line" ] || [ "${line#\#}" != "$line" ] && continue
        eval "gate $line"
    done <"$list"
else
    words=()
    for word in "$@"; do
        if [ "$word" = "--" ]; then
            gate "${words[@]}"
            words=()
        else
            words+=("$word")
        fi
    done
    [ ${#words[@]} -eq 0 ] || gate "${words[@]}"
fi
echo "ptxgate: $compiled compiled, $failed failed"
[ "$failed" -eq 0 ]
