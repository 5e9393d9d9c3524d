#!/usr/bin/env bash
# Packs what a machine with a GPU, a driver and the CUDA libraries, but without .NET, needs to prove and time the engine.
# Run after a Release build; `dotnet cake --target=GpuBundle` does both.
set -euo pipefail
cd "$(dirname "$0")/../.."
bundle=artifacts/gpu-bundle
rm -rf "$bundle"
mkdir -p "$bundle/dotnet/shared" "$bundle/tests" "$bundle/bench"
cp -r artifacts/bin/GpuEngine.Tests/release/. "$bundle/tests/"
cp artifacts/bin/GpuEngine.Bench/release/GpuEngine.Bench.* "$bundle/bench/"
# The bench needs the engine's assemblies and no benchmark framework in its own comparisons.
cp artifacts/bin/GpuEngine.Bench/release/*.dll "$bundle/bench/"
mkdir "$bundle/bench/peers" && cp bench/peers/*.py "$bundle/bench/peers/"
find "$bundle" \( -name '*.pdb' -o -name '*.xml' -o -name TestResults \) -prune -exec rm -rf {} +
root=$(dirname "$(readlink -f "$(command -v dotnet)")")
version=$(dotnet --list-runtimes | sed -n 's/^Microsoft\.NETCore\.App \([^ ]*\).*/\1/p' | sort -V | tail -n 1)
cp "$root/dotnet" "$bundle/dotnet/"
cp -r "$root/host" "$bundle/dotnet/"
mkdir -p "$bundle/dotnet/shared/Microsoft.NETCore.App"
cp -r "$root/shared/Microsoft.NETCore.App/$version" "$bundle/dotnet/shared/Microsoft.NETCore.App/"
cp tools/gpu-bundle/run.sh "$bundle/"
tar -C artifacts -cJf artifacts/gpu-bundle.tar.xz gpu-bundle
size=$(stat -c %s artifacts/gpu-bundle.tar.xz)
echo "artifacts/gpu-bundle.tar.xz: $((size / 1000000)) MB"
[ "$size" -lt 50000000 ] || { echo "The bundle is larger than 50 MB." >&2; exit 1; }
