"""Single kernels in PyTorch: the peer of `GpuEngine.Bench kernels`.

Usage: kernel_peer.py [cuda|cpu]. It speaks lines of JSON: a request names a function below, shape, dtype, pass, form (eager, compiled,
cudnn), the number of sets of operands to rotate over, whether one set is timed as well (warm) and seconds; the answer holds
[median, 20th, 80th percentile] in seconds per call. On a GPU calls are captured in a CUDA graph, as many as take about a
millisecond, and replays are timed between events. On the CPU, which proves the script, every call is simply run.
"""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F

DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda")
CUDA = DEVICE.type == "cuda"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
ACTIVATIONS = {"relu": F.relu_, "silu": F.silu, "gelu": F.gelu}


class Call:
    """One set of operands: forward() records a graph of autograd, of which `wanted` are the leaves."""

    def __init__(self, forward, leaves=(), dy=None):
        self.forward, self.leaves, self.dy = forward, list(leaves), dy


def randn(shape, dtype, grad=True):
    return torch.randn(shape, device=DEVICE, dtype=torch.float32).to(dtype).requires_grad_(grad)


def vector(size, dtype, grad=True):
    return (torch.rand(size, device=DEVICE) + 0.5).to(dtype).requires_grad_(grad)


def image(shape, dtype, channels_last):
    """A tensor of logical shape NCHW; the request's shape is as it lies in memory."""
    x = torch.randn(shape, device=DEVICE).to(dtype)
    return (x.permute(0, x.dim() - 1, *range(1, x.dim() - 1)) if channels_last else x).requires_grad_()


def activation(options):
    return ACTIVATIONS[options["activation"]] if options.get("activation") else lambda y: y


def batch_norm(r, dtype, compiled):
    o = r["options"]
    x, c = image(r["shape"], dtype, o["channels_last"]), r["shape"][-1 if o["channels_last"] else 1]
    w, b = vector(c, torch.float32), vector(c, torch.float32)
    mean, var = vector(c, torch.float32, False), vector(c, torch.float32, False)
    residual = image(r["shape"], dtype, o["channels_last"]) if o["residual"] else None
    act = activation(o)

    def run(x, w, b, mean, var, residual):
        y = F.batch_norm(x, mean, var, w, b, training=True)
        # In place, as torchvision's blocks do.
        return act(y if residual is None else y.add_(residual))

    run = compiled(run)
    return Call(lambda: run(x, w, b, mean, var, residual), [t for t in (x, w, b, residual) if t is not None], torch.randn_like(x))


def group_norm(r, dtype, compiled):
    o = r["options"]
    x, c = image(r["shape"], dtype, o["channels_last"]), r["shape"][-1 if o["channels_last"] else 1]
    w, b, act = vector(c, dtype), vector(c, dtype), activation(o)
    run = compiled(lambda x, w, b: act(F.group_norm(x, o["groups"], w, b)))
    return Call(lambda: run(x, w, b), [x, w, b], torch.randn_like(x))


def layer_norm(r, dtype, compiled):
    x, c = randn(r["shape"], dtype), r["shape"][-1]
    w, b = vector(c, dtype), vector(c, dtype)
    run = compiled(lambda x, w, b: F.layer_norm(x, (c,), w, b))
    return Call(lambda: run(x, w, b), [x, w, b], torch.randn_like(x))


def rms_norm(r, dtype, compiled):
    x, c = randn(r["shape"], dtype), r["shape"][-1]
    w = vector(c, dtype)
    run = compiled(lambda x, w: F.rms_norm(x, (c,), w, 1e-5))
    return Call(lambda: run(x, w), [x, w], torch.randn_like(x))


def cross_entropy(r, dtype, compiled):
    rows, classes = r["shape"]
    x, target = randn(r["shape"], dtype), torch.randint(classes, (rows,), device=DEVICE)
    run = compiled(F.cross_entropy)
    return Call(lambda: run(x, target), [x], torch.ones((), device=DEVICE, dtype=dtype))


def dropout(r, dtype, compiled):
    x = randn(r["shape"], dtype)
    run = compiled(lambda x: F.dropout(x, 0.1, True))
    return Call(lambda: run(x), [x], torch.randn_like(x))


def bias_activation_dropout(r, dtype, compiled):
    x, b, act = randn(r["shape"], dtype), vector(r["shape"][1], dtype), activation(r["options"])
    residual = randn(r["shape"], dtype, False) if r["options"]["residual"] else None

    def run(x, b, residual):
        y = F.dropout(act(x + b), 0.1, True)
        return y if residual is None else y + residual

    run = compiled(run)
    return Call(lambda: run(x, b, residual), [x, b], torch.randn_like(x))


def activation_alone(r, dtype, compiled):
    x, act = randn(r["shape"], dtype), activation(r["options"])
    run = compiled(lambda x: act(x))
    return Call(lambda: run(x), [x], torch.randn_like(x))


def adamw(r, dtype, compiled):
    if r["form"] != "eager":
        raise NotImplementedError("fused=True is the strongest form that is offered; see eager")
    (total,), count = r["shape"], r["options"]["tensors"]
    count = min(count, total)
    sizes = [total // count + (i < total % count) for i in range(count)]
    params = [torch.nn.Parameter(randn((n,), dtype, False)) for n in sizes]
    for p in params:
        p.grad = torch.randn_like(p)
    fused = {"fused": True, "capturable": True} if CUDA else {}
    optimizer = torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01, **fused)

    def run():
        with torch.no_grad():
            if r["options"]["clip"]:
                torch.nn.utils.clip_grad_norm_(params, 1.0, **({"foreach": True} if CUDA else {}))
            optimizer.step()
        return params[0]

    return Call(run)


FUNCTIONS = dict(batch_norm=batch_norm, group_norm=group_norm, layer_norm=layer_norm, rms_norm=rms_norm, cross_entropy=cross_entropy, dropout=dropout,
                 bias_activation_dropout=bias_activation_dropout, activation=activation_alone, adamw=adamw)


def runner(call, which):
    """What is timed. It returns tensors: as long as they are kept, the next run writes elsewhere."""
    if which in ("forward", "step"):
        return call.forward
    if which == "both":
        def both():
            y = call.forward()
            return y, torch.autograd.grad(y, call.leaves, call.dy)
        return both
    y = call.forward()
    return lambda: torch.autograd.grad(y, call.leaves, call.dy, retain_graph=True)


def timing(samples):
    ordered = sorted(samples)
    at = lambda share: ordered[round(share * (len(ordered) - 1))]
    return [statistics.median(ordered), at(0.2), at(0.8)]


def replay(graph, times):
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    marks[0].record()
    for mark in marks[1:]:
        graph.replay()
        mark.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) * 1e-3 for a, b in zip(marks, marks[1:])]


def capture(runs, stream, count):
    """A graph of so many calls, over the sets in turn; outputs live until their set's turn comes again."""
    graph = torch.cuda.CUDAGraph()
    kept = [None] * len(runs)
    with torch.cuda.graph(graph, stream=stream):
        for i in range(count):
            kept[i % len(runs)] = None
            kept[i % len(runs)] = runs[i % len(runs)]()
    return graph


def measure(runs, seconds):
    if not CUDA:
        start = time.perf_counter()
        for run in runs:
            run()
        return timing([(time.perf_counter() - start) / len(runs)])
    stream = torch.cuda.current_stream()
    for run in runs + runs[:2]:
        run()
    torch.cuda.synchronize()
    trial = capture(runs, stream, len(runs))
    replay(trial, 2)
    estimate = min(replay(trial, 5)) / len(runs)
    trial.reset()
    count = int(min(max(600e-6 / estimate / len(runs), 1), max(1, 512 // len(runs)))) * len(runs)
    graph = capture(runs, stream, count)
    once = min(replay(graph, 3))
    replay(graph, int(min(max(0.2 * seconds / once, 1), 200)))
    samples = [s / count for s in replay(graph, int(min(max(seconds / once, 11), 200)))]
    graph.reset()
    return timing(samples)


def batch_norm_backend(r, dtype):
    """Which implementation torch chooses for this input: 0 is its own, 1 is cuDNN."""
    o = r["options"]
    shape = [min(r["shape"][0], 8), *r["shape"][1:]]
    x, c = image(shape, dtype, o["channels_last"]).detach(), shape[-1 if o["channels_last"] else 1]
    ones = torch.ones(c, device=DEVICE)
    index = torch._batch_norm_impl_index(x, ones, ones, ones.clone(), ones.clone(), True, 0.1, 1e-5, torch.backends.cudnn.enabled)[4]
    return {0: "native", 1: "cuDNN"}.get(index, f"implementation {index}")


def answer(r):
    dtype, note = DTYPES[r["dtype"]], None
    if r["form"] == "cudnn":
        if r["function"] != "batch_norm" or len(r["shape"]) != 4:
            return dict(note=None)
        dtype = torch.float16
    if r["function"] == "batch_norm" and r["form"] != "compiled" and CUDA:
        note = batch_norm_backend(r, dtype) + (" f16" if dtype == torch.float16 else "")
    cache = {}

    def compiled(function):
        if r["form"] != "compiled":
            return function
        if not hasattr(torch, "compile"):
            raise NotImplementedError("this PyTorch has no torch.compile")
        # All sets have one shape: the first compilation serves them all.
        if "f" not in cache:
            torch._dynamo.reset()
            import torch._functorch.config as functorch
            functorch.donated_buffer = False  # backward graphs are run many times
            cache["f"] = torch.compile(function, mode="max-autotune-no-cudagraphs", dynamic=False)
        return cache["f"]

    calls = [FUNCTIONS[r["function"]](r, dtype, compiled) for _ in range(r["sets"])]
    runs = [runner(c, r["pass"]) for c in calls]
    result = dict(cold=measure(runs, r["seconds"]), note=note)
    if r["warm"]:
        result["warm"] = measure(runs[:1], r["seconds"])
    return result


def main():
    what = torch.cuda.get_device_name() + f", cuDNN {torch.backends.cudnn.version()}" if CUDA else "cpu"
    print("PyTorch", torch.__version__, what, flush=True)
    # Everything on one stream of its own, so that backward passes are captured where they were recorded.
    stream = torch.cuda.Stream() if CUDA else None
    for line in sys.stdin:
        r = json.loads(line)
        try:
            if CUDA:
                with torch.cuda.stream(stream):
                    result = answer(r)
            else:
                result = answer(r)
        except Exception as error:  # noqa: BLE001: the driver goes on to the next case
            result = dict(note=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:160])
        print(json.dumps(result), flush=True)
        if CUDA:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
