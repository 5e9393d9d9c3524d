#!/usr/bin/env python3
"""Compiles every hand-written kernel with the machine's NVRTC, compares the basic ones with PyTorch and times them.

Needs a GPU, its driver, NVRTC (PyTorch's wheels bring it) and PyTorch; no .NET. The list of compilations is
bench/gpu/kernel_requests.json, which a test keeps equal to the engine's catalog.

    python3 bench/gpu/kernel_smoke.py [--json OUT.json]
"""
import argparse
import ctypes
import glob
import json
import os
import statistics
import sys
import time

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
KERNELS = os.path.normpath(os.path.join(HERE, "..", "..", "kernels"))


def library(*names):
    folders = [""]
    for root in {p for p in sys.path if p.endswith("-packages")} | {os.path.dirname(os.path.dirname(torch.__file__))}:
        folders += [d + "/" for d in glob.glob(os.path.join(root, "nvidia", "*", "lib")) + [os.path.join(root, "torch", "lib")]]
    for folder in folders + ["/usr/local/cuda/lib64/"]:
        for name in names:
            for path in (glob.glob(folder + name) if folder else [name]):
                try:
                    return ctypes.CDLL(path)
                except OSError:
                    pass
    sys.exit(f"none of {names} was found")


NVRTC = library("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "libnvrtc-*.so.1*")
DRIVER = library("libcuda.so.1")
ARCH = "sm_%d%d" % torch.cuda.get_device_capability()


def check(status, what):
    if status:
        raise RuntimeError(f"{what}: status {status}")


def compile_kernel(file, defines):
    """The binary of a file with these macros."""
    with open(os.path.join(KERNELS, file), "rb") as f:
        source = f.read()
    options = [f"--gpu-architecture={ARCH}", "--std=c++17", "--device-as-default-execution-space", "--fmad=true", "--generate-line-info",
               f"--include-path={KERNELS}", f"--include-path={KERNELS}/common"]
    options += [f"--define-macro={name}={value}" for name, value in defines]
    program = ctypes.c_void_p()
    check(NVRTC.nvrtcCreateProgram(ctypes.byref(program), source, file.encode(), 0, None, None), "nvrtcCreateProgram")
    array = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    status = NVRTC.nvrtcCompileProgram(program, len(options), array)
    size = ctypes.c_size_t()
    NVRTC.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    NVRTC.nvrtcGetProgramLog(program, log)
    if status:
        raise RuntimeError(log.value.decode())
    check(NVRTC.nvrtcGetCUBINSize(program, ctypes.byref(size)), "nvrtcGetCUBINSize")
    binary = ctypes.create_string_buffer(size.value)
    check(NVRTC.nvrtcGetCUBIN(program, binary), "nvrtcGetCUBIN")
    NVRTC.nvrtcDestroyProgram(ctypes.byref(program))
    return binary, log.value.decode().strip()


class Kernel:
    def __init__(self, file, entry, **defines):
        self.binary, _ = compile_kernel(file, list(defines.items()))
        module = ctypes.c_void_p()
        check(DRIVER.cuModuleLoadData(ctypes.byref(module), self.binary), "cuModuleLoadData")
        self.function = ctypes.c_void_p()
        check(DRIVER.cuModuleGetFunction(ctypes.byref(self.function), module, entry.encode()), entry)

    def attribute(self, which):
        value = ctypes.c_int()
        check(DRIVER.cuFuncGetAttribute(ctypes.byref(value), which, self.function), "cuFuncGetAttribute")
        return value.value

    def __call__(self, grid, block, *arguments, shared=0, cooperative=False):
        """Tensors and None are addresses, integers are i64; a cooperative launch has all its blocks resident."""
        values = [ctypes.c_uint64(a.data_ptr() if torch.is_tensor(a) else 0 if a is None else a) for a in arguments]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(v) for v in values])
        grid = grid if isinstance(grid, tuple) else (grid, 1)
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        if shared > 48 << 10:
            check(DRIVER.cuFuncSetAttribute(self.function, 8, shared), "cuFuncSetAttribute")
        if cooperative:
            check(DRIVER.cuLaunchCooperativeKernel(self.function, grid[0], grid[1], 1, block, 1, 1, shared, stream, pointers), "cuLaunchCooperativeKernel")
        else:
            check(DRIVER.cuLaunchKernel(self.function, grid[0], grid[1], 1, block, 1, 1, shared, stream, pointers, None), "cuLaunchKernel")


def seconds(run):
    """Median of 20 replays of a CUDA graph of 10 calls."""
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(10):
            run()
    times = []
    for _ in range(20):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        graph.replay()
        b.record()
        b.synchronize()
        times.append(a.elapsed_time(b) * 1e-4)
    return statistics.median(times)


def worst(actual, expected):
    """The largest error, as a share of the largest expected value."""
    return ((actual.double() - expected.double()).abs().max() / expected.double().abs().max().clamp_min(1e-30)).item()


ROWS = []


def report(name, pairs, allowed, run, peer, moved):
    errors = [worst(a, e) for a, e in pairs]
    ours, theirs = seconds(run), seconds(peer)
    ROWS.append(dict(name=name, error=max(errors), allowed=allowed, ok=max(errors) <= allowed, seconds=ours, torch_seconds=theirs,
                     gigabytes_per_second=moved / ours * 1e-9))
    r = ROWS[-1]
    print(f"{name:44} {'ok' if r['ok'] else 'WRONG':6} error {r['error']:.1e}  {ours * 1e6:8.2f} us  torch {theirs * 1e6:8.2f} us  {r['gigabytes_per_second']:7.0f} GB/s")


def randn(*shape):
    return torch.randn(*shape, device="cuda")


def activations():
    n = 1 << 24
    x, dy = randn(n), randn(n)
    y = torch.empty_like(x)
    blocks = torch.cuda.get_device_properties(0).multi_processor_count * 32
    for name, peer in (("Relu", F.relu), ("Gelu", F.gelu), ("Tanh", torch.tanh)):
        k = Kernel("activation.cu", "activation_forward", ACTIVATION=name)
        run = lambda: k(blocks, 256, y, x, n)
        run()
        report(f"activation {name} 16M f32", [(y, peer(x.double()))], 1e-6, run, lambda: peer(x), 8 * n)


def batch_norm(n, c, width, held):
    """One block per slice of width vectors; rows of slices of 128 positions."""
    x, dy, w, b = 2 * randn(n, c) + 3, randn(n, c), randn(c), randn(c)
    rm, rv = randn(c), torch.rand(c, device="cuda") + 0.5
    y, dx = torch.empty_like(x), torch.empty_like(x)
    mean, invstd, new_mean, new_var, dw, db = (torch.empty(c, device="cuda") for _ in range(6))
    blocks, share = c // (4 * width), -(-n // 128) * 128
    fwd = Kernel("batch_norm_small.cu", "batch_norm_small", ACTIVATION="Relu", WIDTH=width, HELD=held)
    bwd = Kernel("batch_norm_backward_small.cu", "batch_norm_backward_small", ACTIVATION="Relu", WIDTH=width, HELD=held)
    run = lambda: fwd(blocks, 256, y, mean, invstd, new_mean, new_var, None, x, w, b, rm, rv, None, n, c, 1, share)
    back = lambda: bwd(blocks, 256, dx, dw, db, None, dy, x, mean, invstd, w, b, None, None, n, c, 1, share)
    run()
    back()
    leaf = [t.double().requires_grad_() for t in (x, w, b)]
    rm2, rv2 = rm.double(), rv.double()
    normed = F.batch_norm(leaf[0], rm2, rv2, leaf[1], leaf[2], training=True)
    out = F.relu(normed)
    # Within rounding of ReLU's kink float64 may decide otherwise: the gradient is judged where the kernel's forward pass put it.
    normed.backward(dy.double() * (y > 0))
    peer_rm, peer_rv = rm.clone(), rv.clone()
    peer = lambda: F.relu(F.batch_norm(x, peer_rm, peer_rv, w, b, training=True))
    report(f"batch_norm+relu {n}x{c} f32", [(y, out), (new_mean, rm2), (new_var, rv2)], 2e-5, run, peer, 8 * n * c)
    # Without autograd, whose backward stream a graph does not capture.
    normed, save_mean, save_invstd = torch.ops.aten.native_batch_norm(x, w, b, peer_rm, peer_rv, True, 0.1, 1e-5)

    def peer_back():
        dz = torch.ops.aten.threshold_backward(dy, normed, 0)
        torch.ops.aten.native_batch_norm_backward(dz, x, w, peer_rm, peer_rv, save_mean, save_invstd, True, 1e-5, [True, True, True])

    report(f"batch_norm+relu backward {n}x{c} f32", [(dx, leaf[0].grad), (dw, leaf[1].grad), (db, leaf[2].grad)], 5e-5, back, peer_back, 12 * n * c)


def batch_norm_one_read(n, c, groups, backward_groups):
    """Rows of channels in bf16 with residual, relu and sign mask: slices of 64 channels in the shared memory of groups of blocks."""
    x, r, dy = ((2 * randn(n, c) + 0.5).bfloat16(), randn(n, c).bfloat16(), randn(n, c).bfloat16())
    w, b, rm, rv = randn(c), randn(c), randn(c), torch.rand(c, device="cuda") + 0.5
    y, dx, dr = (torch.empty_like(x) for _ in range(3))
    mean, invstd, new_mean, new_var, dw, db = (torch.empty(c, device="cuda") for _ in range(6))
    mask = torch.empty(n * c // 8, device="cuda", dtype=torch.uint8)
    options = dict(DTYPE="bf16", VECTOR=8, WIDTH=8, RESIDUAL=1, MASK=1, PACK=8, ACTIVATION="Relu")
    fwd = Kernel("batch_norm_one_read.cu", "batch_norm_one_read", **options)
    bwd = Kernel("batch_norm_backward_one_read.cu", "batch_norm_backward_one_read", **{**options, "RESIDUAL": 0})
    blocks = 2 * torch.cuda.get_device_properties(0).multi_processor_count

    def plan(groups, tensors):
        share = -(-n // (blocks // groups) // 16) * 16
        resident = min(768 // tensors, -(-share // 128) * 128)
        members = -(-n // share)
        scratch, counters = torch.empty(groups * (members + 1) * 128, device="cuda"), torch.zeros(groups * 64, device="cuda", dtype=torch.int32)
        return (groups * members, resident * 128 * tensors, scratch, counters, (n, c, 1, members, share, resident, (groups + 2) // 3 if groups > 1 else 0))

    fg, fs, fscratch, fcounters, fsizes = plan(groups, 1)
    bg, bs, bscratch, bcounters, bsizes = plan(backward_groups, 2)
    run = lambda: fwd(fg, 256, y, mean, invstd, new_mean, new_var, mask, fscratch, fcounters, x, w, b, rm, rv, r, *fsizes, shared=fs, cooperative=True)
    back = lambda: bwd(bg, 256, dx, dw, db, dr, bscratch, bcounters, dy, x, mean, invstd, w, None, None, mask, *bsizes, shared=bs, cooperative=True)
    run()
    back()
    leaf = [t.double().requires_grad_() for t in (x, w, b, r)]
    rm2, rv2 = rm.double(), rv.double()
    out = F.relu(F.batch_norm(leaf[0], rm2, rv2, leaf[1], leaf[2], training=True) + leaf[3])
    out.backward(dy.double())
    peer_rm, peer_rv = rm.clone(), rv.clone()
    peer = lambda: F.relu(F.batch_norm(x, peer_rm, peer_rv, w, b, training=True) + r)
    report(f"batch_norm+add+relu {n}x{c} bf16", [(y, out), (new_mean, rm2), (new_var, rv2)], 8e-3, run, peer, (6 * 8 + 1) * n * c // 8)
    normed, save_mean, save_invstd = torch.ops.aten.native_batch_norm(x, w, b, peer_rm, peer_rv, True, 0.1, 1e-5)

    def peer_back():
        dz = torch.ops.aten.threshold_backward(dy, y, 0)
        torch.ops.aten.native_batch_norm_backward(dz, x, w, peer_rm, peer_rv, save_mean, save_invstd, True, 1e-5, [True, True, True])

    # A pre-activation at zero may fall on either side in float64, so what lies there is left out: dz is compared where both agree.
    agree = (y > 0) == (out > 0)
    report(f"batch_norm+add+relu backward {n}x{c} bf16", [(dr * agree, leaf[3].grad * agree), (dw, leaf[1].grad), (db, leaf[2].grad)], 8e-3, back, peer_back,
           (8 * 8 + 1) * n * c // 8)


def cross_entropy(n, c):
    x, target = 3 * randn(n, c), torch.randint(c, (n,), device="cuda")
    loss, divisor, dloss = torch.empty((), device="cuda"), torch.empty((), device="cuda"), torch.ones((), device="cuda")
    top, log_sum, dx, dx2 = torch.empty(n, device="cuda"), torch.empty(n, device="cuda"), torch.empty_like(x), torch.empty_like(x)
    correct = torch.empty((), dtype=torch.int64, device="cuda")
    processors = torch.cuda.get_device_properties(0).multi_processor_count
    if c <= 32:
        stem, macros, sizes, per_block, shared, resident = "cross_entropy_small", dict(CLASSES=c, VECTOR=4), (-(-n // 256), n, 1), 256, 256 * c * 4, 4
    else:
        held = -(-c // 128)
        resident = 3 if held > 4 else 4
        stem, macros, sizes, per_block, shared = "cross_entropy", dict(LANES=32, HELD=held, ALIGNED=int(c % 4 == 0), BLOCKS=resident), (n, c), 8, held * 256 * 16
    blocks = min(-(-n // per_block), 2048)
    together = min(blocks, processors * resident)
    partial, counters = torch.empty(4 * blocks, device="cuda"), torch.zeros(4, dtype=torch.int32, device="cuda")
    fwd, bwd, both = (Kernel(stem + ".cu", f"{stem}_{e}", **macros) for e in ("forward", "backward", "with_gradient"))
    run = lambda: fwd(blocks, 256, loss, top, log_sum, divisor, partial, counters, x, target, None, *sizes, shared=shared)
    back = lambda: bwd(blocks, 256, dx, dloss, x, target, None, top, log_sum, divisor, *sizes, shared=shared)
    one = lambda: both(together, 256, loss, dx2, correct, partial, counters, x, target, None, *sizes, shared=shared, cooperative=together > 1)
    run()
    back()
    leaf = x.double().requires_grad_()
    out = F.cross_entropy(leaf, target)
    out.backward()
    report(f"cross_entropy {n}x{c} f32", [(loss, out), (top + log_sum, leaf.logsumexp(1))], 1e-5, run, lambda: F.cross_entropy(x, target), 4 * n * c)
    logp, total = x.log_softmax(1), torch.tensor(float(n), device="cuda")

    def peer_back(logp=logp):
        g = torch.ops.aten.nll_loss_backward(dloss, logp, target, None, 1, -100, total)
        torch.ops.aten._log_softmax_backward_data(g, logp, 1, x.dtype)

    report(f"cross_entropy backward {n}x{c} f32", [(dx, leaf.grad)], 1e-5, back, peer_back, 8 * n * c)

    def peer_both():
        p = x.log_softmax(1)
        torch.ops.aten.nll_loss_forward(p, target, None, 1, -100)
        peer_back(p)

    one()
    pairs = [(loss, out), (dx2, leaf.grad), (correct, (x.argmax(1) == target).sum())]
    report(f"cross_entropy with gradient {n}x{c} f32", pairs, 1e-5, one, peer_both, 8 * n * c)


def layer_norm(n, c):
    x, w, b = randn(n, c), randn(c), randn(c)
    y, mean, invstd = torch.empty_like(x), torch.empty(n, device="cuda"), torch.empty(n, device="cuda")
    lanes = 32 if c <= 1024 else 256
    # A mapping without shared memory; the launcher's own ones are timed by bench/GpuEngine.Bench.
    k = Kernel("row_norm.cu", "row_norm_forward", LANES=lanes, HELD=-(-c // 4 // lanes), PARAMS=0, BLOCKS=2)
    blocks = min(-(-n * lanes // 256), torch.cuda.get_device_properties(0).multi_processor_count * 2)
    run = lambda: k(blocks, 256, y, mean, invstd, x, w, b, n, 1, 1, c // 4)
    run()
    report(f"layer_norm {n}x{c} f32", [(y, F.layer_norm(x.double(), (c,), w.double(), b.double()))], 1e-5, run, lambda: F.layer_norm(x, (c,), w, b), 8 * n * c)


def adam(n):
    p, g, m, v = randn(n), randn(n), randn(n) * 0.1, torch.rand(n, device="cuda")
    out = [torch.empty_like(p) for _ in range(3)]
    lr, step = torch.tensor(1e-3, dtype=torch.float64, device="cuda"), torch.tensor(4, dtype=torch.int64, device="cuda")
    blocks = torch.cuda.get_device_properties(0).multi_processor_count * 32
    k = Kernel("optimizers.cu", "optimizer_step_2", RULE="Adam", DECOUPLED=1, DECAY="0.01")
    run = lambda: k(blocks, 256, *out, None, p, g, m, v, lr, step, None, n)
    run()
    d = [t.double() for t in (p, g, m, v)]
    dm, dv = d[2] * 0.9 + d[1] * 0.1, d[3] * 0.999 + d[1] ** 2 * 0.001
    dp = d[0] * (1 - 1e-5) - 1e-3 / (1 - 0.9 ** 5) * dm / (dv.sqrt() / (1 - 0.999 ** 5) ** 0.5 + 1e-8)
    q = torch.nn.Parameter(p.clone())
    q.grad = g
    peer = torch.optim.AdamW([q], lr=1e-3, fused=True, capturable=True)
    report(f"adamw {n >> 20}M f32", list(zip(out, (dp, dm, dv))), 1e-6, run, peer.step, 28 * n)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", help="where results go")
    options = parser.parse_args()
    torch.manual_seed(1)
    randn(1)
    with open(os.path.join(HERE, "kernel_requests.json")) as f:
        requests = json.load(f)
    failures, started, spills = [], time.time(), []
    done = {}
    for r in requests:
        key = (r["file"], json.dumps(r["defines"]))
        name = f"{r['file']} {r['entry']} [{r['variant']}]"
        try:
            if key not in done:
                done[key], log = compile_kernel(r["file"], r["defines"])
                if log:
                    print(f"{name}: {log}")
            module, function, local = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
            check(DRIVER.cuModuleLoadData(ctypes.byref(module), done[key]), "cuModuleLoadData")
            check(DRIVER.cuModuleGetFunction(ctypes.byref(function), module, r["entry"].encode()), "cuModuleGetFunction")
            check(DRIVER.cuFuncGetAttribute(ctypes.byref(local), 3, function), "cuFuncGetAttribute")  # local bytes: spills
            if local.value:
                spills.append((name, local.value))
            DRIVER.cuModuleUnload(module)
        except RuntimeError as error:
            failures.append(name)
            print(f"{name}: {error}")
    print(f"{len(requests)} entries of {len(done)} images for {ARCH} in {time.time() - started:.1f} s, {len(failures)} failed")
    for name, size in spills:
        print(f"local memory: {size} bytes in {name}")
    cases = [activations, lambda: batch_norm(128, 512, 8, 1), lambda: batch_norm(1024, 512, 2, 2), lambda: batch_norm(1024, 4096, 2, 2),
             lambda: batch_norm_one_read(50176, 1024, 4, 2), lambda: batch_norm_one_read(12544, 2048, 11, 8),
             lambda: cross_entropy(128, 10, 32), lambda: cross_entropy(8192, 1000, 32), lambda: layer_norm(8192, 1024), lambda: layer_norm(4096, 8192),
             lambda: adam(1 << 20), lambda: adam(100 << 20)]
    for case in cases:
        try:
            case()
        except RuntimeError as error:
            failures.append(str(error))
            print(error)
    failures += [r["name"] for r in ROWS if not r["ok"]]
    if options.json:
        with open(options.json, "w") as f:
            json.dump(dict(gpu=torch.cuda.get_device_name(), torch=torch.__version__, cuda=torch.version.cuda, compiled=len(done),
                           failures=failures, spills=spills, cases=ROWS), f, indent=1)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
