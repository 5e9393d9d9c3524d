"""Seconds of whole training steps in PyTorch: the peer of the bench's `train-step` mode.

Usage: train_step.py THREADS [cpu|cuda|cuda-compiled]. On the CPU run it with Debian's python3-torch. It speaks lines on standard
input and output, so that a driver can interleave it with our own measurement on the same machine: a line `CASE STEPS` on stdin
runs that many steps and answers with seconds per step.
"""
import sys
import time

import torch
from torch import nn


def mlp(depth, width):
    layers, features = [nn.Flatten()], 784
    for _ in range(depth):
        layers += [nn.Linear(features, width), nn.BatchNorm1d(width), nn.ReLU()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, 10))


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


CASES = {
    "mlp20x256": (lambda: mlp(20, 256), 128),
    "mlp8x1024": (lambda: mlp(8, 1024), 256),
    "mlp4x512": (lambda: mlp(4, 512), 128),
    "lenet5": (lenet5, 128),
}


class Case:
    def __init__(self, name, device):
        make, self.batch = CASES[name]
        torch.manual_seed(1)
        place = torch.device(device.split("-")[0])
        self.model = make().to(place)
        fused = {"fused": True} if place.type == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, **fused)
        self.loss = nn.CrossEntropyLoss()
        self.images = torch.randn(8, self.batch, 1, 28, 28, device=place)
        self.labels = torch.randint(0, 10, (8, self.batch), device=place)
        if device == "cuda-compiled":
            # CUDA graphs included: the strongest form of the peer.
            self.model = torch.compile(self.model, mode="reduce-overhead")
            for i in range(10):
                self.step(i)

    def step(self, i):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.model(self.images[i % 8]), self.labels[i % 8])
        loss.backward()
        self.optimizer.step()
        return loss


def main():
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    torch.set_num_threads(int(sys.argv[1]))
    cases = {}
    print("ready: PyTorch", torch.__version__, device, flush=True)
    for line in sys.stdin:
        name, steps = line.split()
        if name not in cases:
            cases[name] = Case(name, device)
        start = time.perf_counter()
        for i in range(int(steps)):
            loss = cases[name].step(i)
        loss.item()  # on a GPU, waits for the last step
        print((time.perf_counter() - start) / int(steps), flush=True)


if __name__ == "__main__":
    main()
