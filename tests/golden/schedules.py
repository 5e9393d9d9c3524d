#!/usr/bin/env python3
"""Writes schedules.csv: learning rates of torch.optim.lr_scheduler at the first steps, base rate 0.1.

Run with PyTorch 1.13 or newer:  python3 tests/golden/schedules.py
A line is: text form of the schedule (for a run of 60 steps, 10 an epoch), step, rate.
"""
import os
import warnings
import torch
from torch.optim import lr_scheduler as s

TOTAL, EPOCH = 60, 10
CASES = {
    "constant": lambda o: s.LambdaLR(o, lambda step: 1.0),
    "step:7:0.5": lambda o: s.StepLR(o, 7, 0.5),
    "step:2e": lambda o: s.StepLR(o, 20, 0.1),
    "multistep:12;30;45:0.2": lambda o: s.MultiStepLR(o, [12, 30, 45], 0.2),
    "exponential:0.9:1": lambda o: s.ExponentialLR(o, 0.9),
    "cosine": lambda o: s.CosineAnnealingLR(o, TOTAL),
    "cosine:0.01": lambda o: s.CosineAnnealingLR(o, TOTAL, 0.01),
    "linear:0.25": lambda o: s.LinearLR(o, 1.0, 0.25, TOTAL),
    "onecycle": lambda o: s.OneCycleLR(o, 0.1, TOTAL, cycle_momentum=False),
    "onecycle:pct_start=0.2:anneal=linear:div_factor=10:final_div_factor=100": lambda o: s.OneCycleLR(
        o, 0.1, TOTAL, pct_start=0.2, anneal_strategy="linear", div_factor=10, final_div_factor=100, cycle_momentum=False),
    "warmup:15+cosine": lambda o: s.SequentialLR(o, [s.LinearLR(o, 1 / 15, 1.0, 14), s.CosineAnnealingLR(o, TOTAL - 15)], [15]),
}


def main():
    warnings.simplefilter("ignore")
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schedules.csv")
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for name, make in CASES.items():
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
            schedule = make(optimizer)
            for step in range(TOTAL):
                file.write(f"{name},{step},{optimizer.param_groups[0]['lr']!r}\n")
                optimizer.step()
                schedule.step()


if __name__ == "__main__":
    main()
