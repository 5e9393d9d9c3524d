#!/usr/bin/env python3
"""Writes networks.csv: ten training steps of whole networks in PyTorch on the CPU.

Run with PyTorch 1.13 or newer:  python3 tests/golden/networks.py

Nothing is drawn: weights, images and labels come from a hash that any language can repeat to the bit,
    mix(t, i) = fmix32(i * 0x9E3779B1 + t * 0x85EBCA77 + 1)   (fmix32: the finaliser of MurmurHash3)
    u(t, i) = (mix >> 8) * 2^-23 - 1   in [-1, 1),
computed in float64 and rounded once to float32. Parameter number t of the model starts at
    sqrt(6 / fan_in) u (two or more axes), 1 + u / 10 ("norm" or "bn" in the name and "weight" at its end), u / 10 (all others);
images of step s are sqrt(3) u(1000 + s, i), labels mix(2000 + s, i) mod 10. SGD: lr 0.005 (resnet20: 0.001), momentum 0.9, weight decay 1e-4; cross entropy.

The values are those of float64. Beside them stands how far float32 strayed from them: the largest distance in the whole tensor, over
several orders of summation (threads, oneDNN on and off, memory format). Another float32 implementation is right when it strays hardly more.

A line is: case, kind, name, step, stray, then values. Kinds: loss (one value), gradient (before step), weight and buffer (after the last step);
of a tensor of n elements the values at k * (n - 1) // 7, k = 0..7, are kept.
"""
import math
import os

import torch
from torch import nn

STEPS, BATCH, CLASSES = 10, 8, 10


def mix(t, n):
    # 64-bit products wrap; their low 32 bits are those of 32-bit ones.
    h = (torch.arange(n) * 0x9E3779B1 + t * 0x85EBCA77 + 1) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = (h ^ (h >> shift)) * factor & 0xFFFFFFFF
    return h


def u(t, n):
    return (mix(t, n) >> 8).double() * 2.0 ** -23 - 1


class HiddenAsChannel(nn.Module):
    """Instance norm of a hidden vector: one channel with a place per unit."""

    def __init__(self):
        super().__init__()
        self.norm = nn.InstanceNorm1d(1, affine=True)
        self.weight, self.bias = self.norm.weight, self.norm.bias
        del self.norm.weight, self.norm.bias

    def forward(self, x):
        return nn.functional.instance_norm(x.unsqueeze(1), weight=self.weight, bias=self.bias).squeeze(1)


def mlp(norm):
    norms = {"batch": lambda: nn.BatchNorm1d(48), "layer": lambda: nn.LayerNorm(48), "group": lambda: nn.GroupNorm(8, 48), "instance": HiddenAsChannel}
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    for i in range(3):
        net.add_module(f"linear{i + 1}", nn.Linear(784 if i == 0 else 48, 48))
        if norm != "none":
            net.add_module(f"norm{i + 1}", norms[norm]())
        net.add_module(f"act{i + 1}", nn.ReLU())
    net.add_module("classifier", nn.Linear(48, CLASSES))
    return net


def lenet5():
    net = nn.Sequential()
    for name, layer in [
        ("conv1", nn.Conv2d(1, 6, 5, padding=2)), ("act1", nn.ReLU()), ("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(6, 16, 5)), ("act2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)), ("flatten", nn.Flatten()), ("fc1", nn.Linear(400, 120)), ("act3", nn.ReLU()), ("fc2", nn.Linear(120, 84)), ("act4", nn.ReLU()),
        ("classifier", nn.Linear(84, CLASSES))]:
        net.add_module(name, layer)
    return net


class Basic(nn.Module):
    """He et al. 2015 with the shortcut of option A."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return torch.relu(y + x)


def resnet20():
    net = nn.Sequential()
    net.add_module("conv1", nn.Conv2d(3, 16, 3, 1, 1, bias=False))
    net.add_module("bn1", nn.BatchNorm2d(16))
    net.add_module("relu", nn.ReLU())
    width = 16
    for stage in range(3):
        blocks = []
        for i in range(3):
            blocks.append(Basic(width, 16 << stage, 2 if stage and not i else 1))
            width = 16 << stage
        net.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
    for name, layer in [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("fc", nn.Linear(64, CLASSES))]:
        net.add_module(name, layer)
    return net


DIGITS, CIFAR = (1, 28, 28), (3, 32, 32)
CASES = {
    "lenet5": (lenet5, DIGITS), "resnet20": (resnet20, CIFAR),
    **{f"mlp-{n}": (lambda n=n: mlp(n), DIGITS) for n in ("none", "batch", "layer", "group", "instance")},
}


def train(case, dtype, channels_last=False):
    make, image = CASES[case]
    net = make()
    with torch.no_grad():
        for t, (name, p) in enumerate(net.named_parameters()):
            values = u(t, p.numel())
            if p.dim() > 1:
                values *= math.sqrt(6.0 / (p.numel() // p.shape[0]))
            elif name.endswith("weight") and ("norm" in name or "bn" in name):
                values = 1 + values * 0.1
            else:
                values *= 0.1
            p.copy_(values.float().view(p.shape))
    net = net.to(dtype)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001 if case == "resnet20" else 0.005, momentum=0.9, weight_decay=1e-4)
    result = {}
    shape = (BATCH, *image)
    for step in range(STEPS):
        x = (u(1000 + step, math.prod(shape)) * math.sqrt(3.0)).float().view(shape).to(dtype)
        y = mix(2000 + step, BATCH) % CLASSES
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x.contiguous(memory_format=torch.channels_last) if channels_last else x), y)
        loss.backward()
        result["loss", "loss", step] = loss.detach().double().view(1)
        if step in (0, STEPS - 1):
            for name, p in net.named_parameters():
                result["gradient", name, step] = p.grad.detach().double().contiguous().view(-1).clone()
        optimizer.step()
    for name, p in net.named_parameters():
        result["weight", name, STEPS] = p.detach().double().contiguous().view(-1).clone()
    for name, b in net.named_buffers():
        if b.dtype.is_floating_point:
            result["buffer", name, STEPS] = b.detach().double().view(-1).clone()
    return result


def float32_runs(case):
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for onednn in (True, False):
            with torch.backends.mkldnn.flags(enabled=onednn):
                for last in (False, True) if case == "resnet20" else (False,):
                    yield train(case, torch.float32, last)


def kept(kind, name, case):
    # Of the deep net's gradients the first, one in the middle and the last.
    return case != "resnet20" or kind != "gradient" or name in ("conv1.weight", "bn1.bias", "layer2.0.conv1.weight", "layer3.2.bn2.weight", "fc.weight")


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks.csv")
    with open(path, "w") as file:
        for case in CASES:
            exact = train(case, torch.float64)
            runs = list(float32_runs(case))
            for key, values in exact.items():
                if not kept(key[0], key[1], case):
                    continue
                stray = max((r[key] - values).abs().max().item() for r in runs)
                n = values.numel()
                sample = [values[k * (n - 1) // 7].item() for k in range(8)] if n > 1 else [values[0].item()]
                file.write(",".join([case, key[0], key[1], str(key[2]), f"{stray:.3g}", *(f"{v:.10g}" for v in sample)]) + "\n")


if __name__ == "__main__":
    main()
