"""PyTorch's side of ConvBench: the convolutions of LeNet-5 and ResNet-20 (CIFAR), batch 128, float32, on the CPU.

Each layer is timed as forward, input gradient and weight gradient, which torch runs separately; medians of interleaved rounds.
Usage: python3 bench/peers/conv.py [--threads 1 2] [--rounds 15] [--batch 128]
Prints one JSON line per layer and thread count: times in microseconds.
"""
import argparse
import json
import statistics
import time

import torch

# name, C, H, K, kernel, stride, padding
LAYERS = [
    ("lenet conv1 1-6 5x5 28", 1, 28, 6, 5, 1, 2),
    ("lenet conv2 6-16 5x5 14", 6, 14, 16, 5, 1, 0),
    ("resnet20 3-16 3x3 32", 3, 32, 16, 3, 1, 1),
    ("resnet20 16-16 3x3 32", 16, 32, 16, 3, 1, 1),
    ("resnet20 16-32 3x3/2 32", 16, 32, 32, 3, 2, 1),
    ("resnet20 16-32 1x1/2 32", 16, 32, 32, 1, 2, 0),
    ("resnet20 32-32 3x3 16", 32, 16, 32, 3, 1, 1),
    ("resnet20 32-64 3x3/2 16", 32, 16, 64, 3, 2, 1),
    ("resnet20 64-64 3x3 8", 64, 8, 64, 3, 1, 1),
]


def passes(batch, c, h, k, r, stride, padding):
    """The three passes as functions without arguments."""
    x, w = torch.randn(batch, c, h, h), torch.randn(k, c, r, r)
    b = torch.randn(k)
    y = torch.nn.functional.conv2d(x, w, b, stride, padding)
    dy = torch.randn_like(y)

    def gradient(mask):
        return torch.ops.aten.convolution_backward(
            dy, x, w, [k], [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, mask)

    return {
        "forward": lambda: torch.nn.functional.conv2d(x, w, b, stride, padding),
        "input": lambda: gradient([True, False, False]),
        "weight": lambda: gradient([False, True, False]),
        "both": lambda: gradient([True, True, True]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        cases = {layer[0]: passes(options.batch, *layer[1:]) for layer in LAYERS}
        times = {(layer, name): [] for layer in cases for name in cases[layer]}
        with torch.no_grad():
            for _ in range(options.rounds + 2):
                for layer, functions in cases.items():
                    for name, function in functions.items():
                        start = time.perf_counter()
                        function()
                        times[layer, name].append(time.perf_counter() - start)
        for layer in cases:
            medians = {name: round(1e6 * statistics.median(times[layer, name][2:]), 1) for name in cases[layer]}
            print(json.dumps({"layer": layer, "threads": threads, **medians}), flush=True)


if __name__ == "__main__":
    main()
