"""Writes torch_timm.npz: the schedules of PyTorch and timm, for the tests of ours.

Runs where `torch` and `timm` are installed:

    python make_torch_timm.py
"""

import json
import pathlib
import warnings

import numpy as np
import timm
import torch
from timm import scheduler as timm_schedulers
from torch.optim import lr_scheduler

warnings.filterwarnings("ignore")
STEPS = 10_000
FOUND = {}
ARGUMENTS = {"versions": {"torch": torch.__version__, "timm": timm.__version__}}


def optimizer(rate, momentum=0.0):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate, momentum=momentum)


def keep_torch(name, kind, rate, momentum=0.0, **arguments):
    """The learning rate, and the momentum if there is one, at steps 0 to 9999."""
    sgd = optimizer(rate, momentum)
    schedule = kind(sgd, **arguments)
    rates, momenta = [], []
    for step in range(STEPS):
        rates.append(sgd.param_groups[0]["lr"])
        momenta.append(sgd.param_groups[0]["momentum"])
        sgd.step()
        if step < STEPS - 1:  # One cycle raises an error beyond its last step.
            schedule.step()
    FOUND[name] = np.array(rates, "float64")
    if momentum:
        FOUND[f"{name}_momentum"] = np.array(momenta, "float64")
    ARGUMENTS[name] = {"rate": rate, **arguments}


def keep_timm(name, kind, rate, **arguments):
    """The learning rate at steps 0 to 9999, which are epochs to timm."""
    sgd = optimizer(rate)
    schedule = kind(sgd, **arguments)
    rates = [sgd.param_groups[0]["lr"]]
    for step in range(1, STEPS):
        schedule.step(step)
        rates.append(sgd.param_groups[0]["lr"])
    FOUND[name] = np.array(rates, "float64")
    ARGUMENTS[name] = {"rate": rate, **arguments}


def schedules():
    one = {"max_lr": 0.1, "total_steps": STEPS, "pct_start": 0.3}
    kinds = {
        "onecycle_cos": {"anneal_strategy": "cos"},
        "onecycle_linear": {"anneal_strategy": "linear"},
        "onecycle_three_phase": {"anneal_strategy": "cos", "three_phase": True},
    }
    for name, more in kinds.items():
        keep_torch(name, lr_scheduler.OneCycleLR, 0.1, 0.9, **one, **more)
    cyclic = {"base_lr": 1e-4, "max_lr": 1e-2, "cycle_momentum": False}
    for mode in ("triangular", "triangular2", "exp_range"):
        more = {"step_size_up": 700, "mode": mode, "gamma": 0.9995}
        keep_torch(f"cyclic_{mode}", lr_scheduler.CyclicLR, 0.1, **cyclic, **more)
    more = {"step_size_up": 300, "step_size_down": 900}
    keep_torch("cyclic_asymmetric", lr_scheduler.CyclicLR, 0.1, **cyclic, **more)
    keep_torch(
        "cosine_restarts",
        lr_scheduler.CosineAnnealingWarmRestarts,
        0.1,
        T_0=500,
        T_mult=2,
        eta_min=1e-3,
    )
    keep_torch(
        "multi_step",
        lr_scheduler.MultiStepLR,
        0.1,
        milestones=[1000, 4000, 4500, 9000],
        gamma=0.3,
    )
    keep_timm(
        "timm_cosine",
        timm_schedulers.CosineLRScheduler,
        0.1,
        t_initial=1000,
        lr_min=1e-3,
        cycle_mul=2.0,
        cycle_decay=0.5,
        cycle_limit=3,
        warmup_t=100,
        warmup_lr_init=1e-5,
        warmup_prefix=True,
    )
    keep_timm(
        "timm_step",
        timm_schedulers.StepLRScheduler,
        0.1,
        decay_t=700,
        decay_rate=0.7,
        warmup_t=50,
        warmup_lr_init=1e-4,
        warmup_prefix=True,
    )
    keep_timm(
        "timm_poly",
        timm_schedulers.PolyLRScheduler,
        0.1,
        t_initial=8000,
        power=0.5,
        lr_min=1e-3,
    )


def plateaus():
    """The learning rate after each epoch of a loss with plateaus."""
    rng = np.random.default_rng(3)
    epochs = np.arange(400)
    falling = 2.0 * np.exp(-np.minimum(epochs % 100, 40) / 20) * 0.5 ** (epochs // 100) + 0.05
    metrics = falling + 0.004 * rng.normal(size=400)
    FOUND["plateau_metrics"] = metrics
    common = {"factor": 0.5, "patience": 7, "cooldown": 3, "min_lr": 1e-4, "threshold": 1e-3}
    kinds = {
        "torch_plateau_rel": ({"mode": "min", "threshold_mode": "rel"}, 1.0),
        "torch_plateau_abs": ({"mode": "min", "threshold_mode": "abs"}, 1.0),
        "torch_plateau_max": ({"mode": "max", "threshold_mode": "rel"}, -1.0),
    }
    for name, (more, sign) in kinds.items():
        sgd = optimizer(0.1)
        schedule = lr_scheduler.ReduceLROnPlateau(sgd, **common, **more)
        rates = []
        for metric in metrics:
            # Of accuracies above 0.
            schedule.step(metric if sign > 0 else 3.0 - metric)
            rates.append(sgd.param_groups[0]["lr"])
        FOUND[name] = np.array(rates)
        ARGUMENTS[name] = {"rate": 0.1, **common, **more}
    sgd = optimizer(0.1)
    more = {
        "decay_rate": 0.5,
        "patience_t": 7,
        "threshold": 1e-3,
        "cooldown_t": 3,
        "lr_min": 1e-4,
        "mode": "min",
    }
    schedule = timm_schedulers.PlateauLRScheduler(sgd, **more)
    rates = []
    for epoch, metric in enumerate(metrics):
        schedule.step(epoch + 1, metric)
        rates.append(sgd.param_groups[0]["lr"])
    FOUND["timm_plateau"] = np.array(rates)
    ARGUMENTS["timm_plateau"] = {"rate": 0.1, **more}


schedules()
plateaus()
FOUND["arguments"] = np.array(json.dumps(ARGUMENTS))
np.savez_compressed(pathlib.Path(__file__).with_name("torch_timm.npz"), **FOUND)
print({name: value.shape for name, value in FOUND.items()}, ARGUMENTS["versions"])
