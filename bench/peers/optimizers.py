#!/usr/bin/env python3
"""The peer of OptimizerBench: torch.optim steps on one flat f32 parameter, and a scaling of the same footprint.

    python3 bench/peers/optimizers.py [--parameters N] [--threads 1,2] [--seconds S]

Prints a line per case: threads, case, median ms, GB/s by the same bytes as OptimizerBench (Adam 28 a parameter and so on),
so the two tables can be read side by side. Run both on an idle machine, one after the other and back.
"""
import argparse
import statistics
import time
import torch


def cases(n):
    def make(optimizer):
        def build(foreach):
            param = torch.nn.Parameter(torch.sin(torch.arange(n) % 8191).float())
            param.grad = param.detach().clone()
            step = optimizer([param], foreach=foreach)
            return step.step
        return build

    def clipped(foreach):
        param = torch.nn.Parameter(torch.sin(torch.arange(n) % 8191).float())
        param.grad = param.detach().clone()
        step = torch.optim.Adam([param], foreach=foreach)

        def run():
            torch.nn.utils.clip_grad_norm_([param], 1.0)
            step.step()
        return run

    def scale(_):
        array = torch.ones(4 * n)
        return lambda: array.mul_(0.999)

    yield "scale", 32, scale, (False,)
    yield "sgd", 12, make(lambda p, **k: torch.optim.SGD(p, lr=1e-3, **k)), (False, True)
    yield "sgd momentum", 20, make(lambda p, **k: torch.optim.SGD(p, lr=1e-3, momentum=0.9, **k)), (False, True)
    yield "adam", 28, make(torch.optim.Adam), (False, True)
    yield "adamw", 28, make(torch.optim.AdamW), (False, True)
    yield "clip + adam", 32, clipped, (False, True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parameters", type=int, default=16 << 20)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.parameters} parameters")
    for threads in (int(t) for t in options.threads.split(",")):
        torch.set_num_threads(threads)
        for name, width, build, variants in cases(options.parameters):
            for foreach in variants:
                run = build(foreach)
                for _ in range(3):
                    run()
                times, end = [], time.perf_counter() + options.seconds
                while time.perf_counter() < end or len(times) < 5:
                    start = time.perf_counter()
                    run()
                    times.append(time.perf_counter() - start)
                median = statistics.median(times)
                label = name + (" foreach" if foreach else "")
                print(f"{threads} threads  {label:20s} {median * 1e3:8.2f} ms  {width * options.parameters / median / 1e9:6.1f} GB/s", flush=True)


if __name__ == "__main__":
    main()
