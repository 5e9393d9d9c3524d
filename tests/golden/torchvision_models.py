#!/usr/bin/env python3
"""Writes torchvision_models.csv: names of torchvision's models and what they answer.

Run with torchvision 0.14 or newer on a CPU:  python3 tests/golden/torchvision_models.py

Two kinds of lines:
    model, names, number of tensors, SHA-256 of the lines "name shape\\n" sorted by name (shape as "64x3x7x7"; counters num_batches_tracked left out)
    model, logits, stray, values: eight logits of each of two images of 64x64 in evaluation, those of classes 0, 125, 250, ...
Weights and images follow from the hash of networks.py: tensor number t of the state dict (in its order, counters left out) is u / 10 for one axis,
1 + u / 10 for one axis where the name ends in "weight" or "running_var", sqrt(6 / fan_in) u for more; images are sqrt(3) u(1000, i).
The logits are those of float64; stray is how far float32 strayed from them, the largest distance of all logits.
"""
import hashlib
import math
import os

import torch
import torchvision

from networks import u

NAMES = {"resnet18": "resnet18", "resnet34": "resnet34", "resnet50": "resnet50", "resnet101": "resnet101", "resnet152": "resnet152", "alexnet-one-tower": "alexnet"}
ANSWERED = ("resnet18", "resnet50", "alexnet-one-tower")


def state(net):
    return [(name, tensor) for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")]


def fill(net):
    with torch.no_grad():
        for t, (name, tensor) in enumerate(state(net)):
            values = u(t, tensor.numel())
            if tensor.dim() > 1:
                values *= math.sqrt(6.0 / (tensor.numel() // tensor.shape[0]))
            elif name.endswith(("weight", "running_var")):
                values = 1 + values * 0.1
            else:
                values *= 0.1
            tensor.copy_(values.float().view(tensor.shape))


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torchvision_models.csv")
    with open(path, "w") as file:
        for ours, theirs in NAMES.items():
            net = getattr(torchvision.models, theirs)(weights=None).eval()
            lines = sorted(f"{name} {'x'.join(map(str, tensor.shape))}\n" for name, tensor in state(net))
            file.write(f"{ours},names,{len(lines)},{hashlib.sha256(''.join(lines).encode()).hexdigest()}\n")
            if ours not in ANSWERED:
                continue
            fill(net)
            images = (u(1000, 2 * 3 * 64 * 64) * math.sqrt(3.0)).float().view(2, 3, 64, 64)
            with torch.no_grad():
                single = net(images).double()
                exact = net.double()(images.double())
            values = exact[:, ::125].reshape(-1).tolist()
            file.write(",".join([ours, "logits", f"{(single - exact).abs().max().item():.3g}", *(f"{v:.10g}" for v in values)]) + "\n")


if __name__ == "__main__":
    main()
