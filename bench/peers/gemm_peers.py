#!/usr/bin/python3
"""SGEMM as a Python user gets it: torch.mm (libblas), torch's oneDNN linear, OpenBLAS through ctypes.

Prints one JSON object per line: library, kernel, m, k, n, threads, median GFLOP/s. Random data, warm, medians of
interleaved rounds. Small sizes include the interpreter's call, some microseconds; bench/gemm.sh calls the libraries
directly and is the fair comparison there.

usage: gemm_peers.py [--threads 1,2] [SIZE | MxKxN ...]
"""
import argparse
import ctypes
import json
import os
import statistics
import time

# Before the libraries load: OpenBLAS 0.3.21 does not know every processor and may fall back to its AVX2 kernel.
os.environ.pop("OPENBLAS_L2_SIZE", None)
with open("/proc/cpuinfo", encoding="ascii") as cpu:
    if " avx512dq " in cpu.read():
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"

import torch  # noqa: E402

ROUNDS = 15
SECONDS_PER_TURN = 0.03


def openblas():
    for path in ("/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblas.so.0", "libopenblas.so.0"):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        library.openblas_get_corename.restype = ctypes.c_char_p
        return library
    return None


def time_turn(call, repeats):
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def calls(m, k, n, blas):
    a, b = torch.rand(m, k) - 0.5, torch.rand(k, n) - 0.5
    out = torch.empty(m, n)
    yield "torch.mm", f"torch {torch.__version__}", lambda: torch.mm(a, b, out=out)
    a_mkldnn, w_mkldnn = a.to_mkldnn(), b.t().contiguous().to_mkldnn()
    linear = torch._C._nn.mkldnn_linear if hasattr(torch._C._nn, "mkldnn_linear") else None
    if linear is not None:
        yield "torch mkldnn_linear", "oneDNN, weights as given", lambda: linear(a_mkldnn, w_mkldnn)
    if blas is not None:
        pointers = [t.data_ptr() for t in (a, b, out)]
        pa, pb, pc = (ctypes.c_void_p(p) for p in pointers)
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        yield "OpenBLAS", blas.openblas_get_corename().decode(), lambda: blas.cblas_sgemm(
            101, 111, 111, m, n, k, one, pa, k, pb, n, zero, pc, n)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", default=f"1,{os.cpu_count()}")
    parser.add_argument("sizes", nargs="*", default=["64", "128", "256", "512", "1024", "2048"])
    options = parser.parse_args()
    blas = openblas()
    for threads in sorted({int(t) for t in options.threads.split(",")}):
        torch.set_num_threads(threads)
        if blas is not None:
            blas.openblas_set_num_threads(threads)
        for size in options.sizes:
            parts = [int(p) for p in size.split("x")]
            m, k, n = parts if len(parts) == 3 else parts * 3
            turns = list(calls(m, k, n, blas))
            repeats = []
            for _, _, call in turns:
                call()
                repeats.append(max(1, int(SECONDS_PER_TURN / time_turn(call, 3))))
            times = [[] for _ in turns]
            for _ in range(ROUNDS):
                for i, (_, _, call) in enumerate(turns):
                    # Workers of these libraries spin after a call; let them stop.
                    time.sleep(0.04 if threads > 1 else 0)
                    call()
                    times[i].append(time_turn(call, repeats[i]))
            for (library, kernel, _), values in zip(turns, times):
                print(json.dumps({
                    "library": library, "kernel": kernel, "m": m, "k": k, "n": n, "threads": threads,
                    "gflops": round(2 * m * n * k / statistics.median(values) / 1e9, 1)}), flush=True)


if __name__ == "__main__":
    main()
