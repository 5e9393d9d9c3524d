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


def norm_conv(inputs, outputs, kernel, stride=1):
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    def __init__(self, branch, shortcut):
        super().__init__()
        self.branch, self.shortcut = nn.Sequential(*branch), shortcut

    def forward(self, x):
        return torch.relu(self.branch(x) + self.shortcut(x))


class OptionA(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        more = self.channels - x.shape[1]
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more // 2, more - more // 2))


def cifar_resnet(depth):
    layers, width = [*norm_conv(3, 16, 3), nn.ReLU(inplace=True)], 16
    for stage in range(3):
        for i in range((depth - 2) // 6):
            out, stride = 16 << stage, 2 if stage and not i else 1
            branch = [*norm_conv(width, out, 3, stride), nn.ReLU(inplace=True), *norm_conv(out, out, 3)]
            layers.append(Block(branch, OptionA(out) if stride == 2 else nn.Identity()))
            width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet(bottleneck, blocks, classes):
    layers, width = [*norm_conv(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)], 64
    for stage, count in enumerate(blocks):
        for i in range(count):
            inner, stride = 64 << stage, 2 if stage and not i else 1
            out = 4 * inner if bottleneck else inner
            if bottleneck:
                branch = [*norm_conv(width, inner, 1), nn.ReLU(inplace=True), *norm_conv(inner, inner, 3, stride), nn.ReLU(inplace=True), *norm_conv(inner, out, 1)]
            else:
                branch = [*norm_conv(width, inner, 3, stride), nn.ReLU(inplace=True), *norm_conv(inner, out, 3)]
            layers.append(Block(branch, nn.Identity() if stride == 1 and width == out else nn.Sequential(*norm_conv(width, out, 1, stride))))
            width = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


# Model, batch, image, classes. A name that ends in -bf16 trains under autocast, channels last; one that ends in -forward only evaluates.
CASES = {
    "mlp20x256": (lambda: mlp(20, 256), 128, (1, 28, 28), 10),
    "mlp8x1024": (lambda: mlp(8, 1024), 256, (1, 28, 28), 10),
    "mlp4x512": (lambda: mlp(4, 512), 128, (1, 28, 28), 10),
    "lenet5": (lenet5, 128, (1, 28, 28), 10),
    "resnet20": (lambda: cifar_resnet(20), 128, (3, 32, 32), 10),
    "resnet20-bf16": (lambda: cifar_resnet(20), 1024, (3, 32, 32), 10),
    "resnet18-bf16": (lambda: resnet(False, [2, 2, 2, 2], 10), 1024, (3, 32, 32), 10),
    "resnet50-bf16": (lambda: resnet(True, [3, 4, 6, 3], 1000), 256, (3, 224, 224), 1000),
    "resnet20-forward": (lambda: cifar_resnet(20), 128, (3, 32, 32), 10),
    "resnet18-forward": (lambda: resnet(False, [2, 2, 2, 2], 1000), 16, (3, 224, 224), 1000),
    "resnet50-forward": (lambda: resnet(True, [3, 4, 6, 3], 1000), 16, (3, 224, 224), 1000),
}


class Case:
    def __init__(self, name, device):
        make, self.batch, image, classes = CASES[name]
        torch.manual_seed(1)
        place = torch.device(device.split("-")[0])
        self.model = make().to(place)
        fused = {"fused": True} if place.type == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, **fused)
        self.loss = nn.CrossEntropyLoss()
        self.half, self.place = name.endswith("-bf16"), place.type
        self.forward = name.endswith("-forward")
        self.model.train(not self.forward)
        self.sets = 1 if self.batch * image[0] * image[1] * image[2] > 1 << 22 else 8
        self.images = [torch.randn(self.batch, *image, device=place) for _ in range(self.sets)]
        self.labels = torch.randint(0, classes, (self.sets, self.batch), device=place)
        if self.half:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.images = [i.to(memory_format=torch.channels_last) for i in self.images]
            torch.backends.cudnn.benchmark = True
        if device == "cuda-compiled":
            # CUDA graphs included: the strongest form of the peer.
            self.model = torch.compile(self.model, mode="reduce-overhead")
            for i in range(10):
                self.step(i)

    def step(self, i):
        if self.forward:
            with torch.inference_mode():
                return self.loss(self.model(self.images[i % self.sets]), self.labels[i % self.sets])
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.place, dtype=torch.bfloat16, enabled=self.half):
            loss = self.loss(self.model(self.images[i % self.sets]), self.labels[i % self.sets])
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
