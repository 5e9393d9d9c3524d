"""Times torch's normalisations on the shapes of `GpuEngine.Bench norms`: 20th percentiles of short rounds, 1 and 2 threads, f32.

Forward is timed as a training step runs it (with autograd recording), backward alone (grad of x, weight, bias).
Usage: python3 bench/peers/norms.py [threads ...]
"""
import statistics
import sys
import time

import torch
import torch.nn.functional as F

ROUNDS, SECONDS = 101, 0.001


def time_us(run):
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 200 * SECONDS or count < 2:
        run()
        count += 1
    count = max(1, count // 200)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            run()
        times.append((time.perf_counter() - start) / count)
    return statistics.quantiles(times, n=5)[0] * 1e6


def batch_norm_relu(x, w, b, m, v):
    return F.relu(F.batch_norm(x, m, v, w, b, training=True), inplace=True)


CASES = [
    ("batch_norm+relu", (128, 256), 256, batch_norm_relu),
    ("batch_norm+relu", (256, 1024), 1024, batch_norm_relu),
    ("batch_norm+relu", (4096, 512), 512, batch_norm_relu),
    ("batch_norm+relu", (128, 64, 16, 16), 64, batch_norm_relu),
    ("batch_norm+relu", (32, 256, 7, 7), 256, batch_norm_relu),
    ("layer_norm", (256, 1024), 1024, lambda x, w, b, m, v: F.layer_norm(x, (1024,), w, b)),
    ("layer_norm", (4096, 768), 768, lambda x, w, b, m, v: F.layer_norm(x, (768,), w, b)),
    ("group_norm(32)", (32, 256, 14, 14), 256, lambda x, w, b, m, v: F.group_norm(x, 32, w, b)),
    ("instance_norm", (32, 64, 32, 32), 64, lambda x, w, b, m, v: F.instance_norm(x, None, None, w, b)),
]


def main():
    threads = [int(t) for t in sys.argv[1:]] or [1, torch.get_num_threads()]
    print(f"torch {torch.__version__}")
    print(f"{'case':34} threads   forward us   backward us")
    for count in dict.fromkeys(threads):
        torch.set_num_threads(count)
        for name, shape, channels, forward in CASES:
            x = torch.rand(shape, requires_grad=True)
            w = torch.rand(channels, requires_grad=True)
            b = torch.rand(channels, requires_grad=True)
            m, v = torch.zeros(channels), torch.ones(channels)
            y = forward(x, w, b, m, v)
            dy = torch.rand(shape)
            backward = lambda: torch.autograd.grad(y, (x, w, b), dy, retain_graph=True)
            f, g = time_us(lambda: forward(x, w, b, m, v)), time_us(backward)
            print(f"{name + ' ' + str(list(shape)):34} {count:7} {f:12.1f} {g:13.1f}")


if __name__ == "__main__":
    main()
