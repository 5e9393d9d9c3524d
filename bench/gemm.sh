#!/usr/bin/env bash
# Our SGEMM beside OpenBLAS and oneDNN in one run: bench/gemm.sh [SIZE | MxKxN ...] [--threads 1,2] [--kernel Avx2]
set -euo pipefail
cd "$(dirname "$0")/.."
# OpenBLAS 0.3.21 does not know Zen 5 and falls back to its AVX2 kernel there; give it its best one.
# The environment of this machine may pin something else; OPENBLAS_CORETYPE is therefore set here, not inherited.
unset OPENBLAS_L2_SIZE
if grep -qw avx512dq /proc/cpuinfo; then export OPENBLAS_CORETYPE=SkylakeX; fi
dotnet build bench/GpuEngine.Bench -c Release -v quiet --nologo
exec dotnet artifacts/bin/GpuEngine.Bench/release/GpuEngine.Bench.dll gemm "$@"
