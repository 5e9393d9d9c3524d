#!/usr/bin/env python3
"""Writes optimizers.csv: 50 steps of torch.optim for every option, in float32 and float64.

Run with PyTorch 1.13 or newer on a CPU:  python3 tests/golden/optimizers.py

The task is the same for every line and needs no random numbers: 5 parameters, and at step t (0, 1, ...) the gradient
    g_i(t) = w_i * c_i + ((7 t + 3 i) mod 11 - 5) / 16,   c = 0.5, 1, 2, 4, 0.01
where w are the parameters before the step. The product and the sum are rounded one by one in the dtype and the last term is
exact, so the gradient can be repeated to the bit anywhere.
A line is: name of the case, dtype, step, then the bits of the 5 parameters in hexadecimal (exact).
"""
import os
import struct
import torch

CURVATURE = [0.5, 1.0, 2.0, 4.0, 0.01]
START = [1.0, -2.0, 0.5, 3.0, -0.25]
KEPT = [1, 2, 3, 5, 10, 20, 35, 50]

CASES = {
    "sgd": (torch.optim.SGD, dict(lr=0.05)),
    "sgd_weight_decay": (torch.optim.SGD, dict(lr=0.05, weight_decay=0.1)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
    "sgd_dampening": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.5)),
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "sgd_maximize": (torch.optim.SGD, dict(lr=0.01, momentum=0.5, maximize=True, weight_decay=0.01)),
    "adagrad": (torch.optim.Adagrad, dict(lr=0.1)),
    "adagrad_options": (torch.optim.Adagrad, dict(
        lr=0.1, lr_decay=0.01, weight_decay=0.05, initial_accumulator_value=0.3, eps=1e-6)),
    "adagrad_maximize": (torch.optim.Adagrad, dict(lr=0.01, maximize=True)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=0.01)),
    "rmsprop_options": (torch.optim.RMSprop, dict(lr=0.01, alpha=0.9, eps=1e-3, weight_decay=0.05)),
    "rmsprop_momentum": (torch.optim.RMSprop, dict(lr=0.01, momentum=0.9)),
    "rmsprop_centered": (torch.optim.RMSprop, dict(lr=0.01, centered=True)),
    "rmsprop_centered_momentum": (torch.optim.RMSprop, dict(lr=0.01, centered=True, momentum=0.5, maximize=True)),
    "adam": (torch.optim.Adam, dict(lr=0.01)),
    "adam_options": (torch.optim.Adam, dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
    "adam_amsgrad": (torch.optim.Adam, dict(lr=0.01, amsgrad=True)),
    "adam_maximize": (torch.optim.Adam, dict(lr=0.01, maximize=True, weight_decay=0.01)),
    "adamw": (torch.optim.AdamW, dict(lr=0.01)),
    "adamw_options": (torch.optim.AdamW, dict(lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2, amsgrad=True)),
    "adamw_maximize": (torch.optim.AdamW, dict(lr=0.01, maximize=True)),
}


def bits(value, dtype):
    return struct.pack(">d" if dtype == torch.float64 else ">f", value).hex()


def trace(kind, options, dtype):
    param = torch.tensor(START, dtype=dtype, requires_grad=True)
    curvature = torch.tensor(CURVATURE, dtype=dtype)
    optimizer = kind([param], **options)
    for step in range(50):
        push = torch.tensor([((7 * step + 3 * i) % 11 - 5) / 16 for i in range(5)], dtype=dtype)
        param.grad = param.detach() * curvature + push
        optimizer.step()
        if step + 1 in KEPT:
            yield step + 1, param.tolist()


def main():
    torch.set_num_threads(1)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizers.csv")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for name, (kind, options) in CASES.items():
            for dtype, label in ((torch.float32, "f32"), (torch.float64, "f64")):
                for step, values in trace(kind, options, dtype):
                    file.write(",".join([name, label, str(step)] + [bits(v, dtype) for v in values]) + "\n")


if __name__ == "__main__":
    main()
