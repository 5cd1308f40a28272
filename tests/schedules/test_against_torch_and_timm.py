"""Schedules equal PyTorch's, timm's and TensorFlow Addons', over 10⁴ steps, from stored values."""

import pathlib

import keras
import numpy as np
import pytest

from kerasreg.callbacks import ReduceOnPlateau
from kerasreg.schedules import (
    CosineRestarts,
    Cyclical,
    MultiStep,
    OneCycle,
    Polynomial,
    Step,
    TimeBased,
    Warmup,
)

REFERENCES = pathlib.Path(__file__).parents[1] / "references"
STEPS = np.arange(10_000)
TOTAL = 10_000  # Of PyTorch's OneCycleLR, whose last step is the 9999th,
LAST = {"steps": TOTAL - 1, "pct_start": (0.3 * TOTAL - 1) / (TOTAL - 1)}  # as its docstring says.
ONE_CYCLE = {
    "onecycle_cos": OneCycle(0.1, **LAST),
    "onecycle_linear": OneCycle(0.1, **LAST, shape="linear"),
    "onecycle_three_phase": OneCycle(0.1, **LAST, three_phase=True),
}


@pytest.fixture(scope="module")
def torch_timm():
    return np.load(REFERENCES / "torch_timm.npz")


@pytest.fixture(scope="module")
def addons():
    return np.load(REFERENCES / "tensorflow_addons.npz")


PAIRS = {
    **ONE_CYCLE,
    "cyclic_triangular": Cyclical(1e-4, 1e-2, rise_steps=700),
    "cyclic_triangular2": Cyclical(1e-4, 1e-2, rise_steps=700, shape="triangular2"),
    "cyclic_exp_range": Cyclical(1e-4, 1e-2, rise_steps=700, shape="exp_range", gamma=0.9995),
    "cyclic_asymmetric": Cyclical(1e-4, 1e-2, rise_steps=300, fall_steps=900),
    "cosine_restarts": CosineRestarts(0.1, 500, growth=2.0, minimum=1e-3),
    "multi_step": MultiStep(0.1, [1000, 4000, 4500, 9000], factor=0.3),
    "timm_cosine": Warmup(
        CosineRestarts(0.1, 1000, growth=2.0, peak_factor=0.5, minimum=1e-3, cycles=3),
        steps=100,
        start=1e-5,
    ),
    "timm_step": Warmup(Step(0.1, 0.7, 700), steps=50, start=1e-4),
    "timm_poly": Polynomial(0.1, 1e-3, 8000, power=0.5),
}


@pytest.mark.parametrize("name", PAIRS)
def test_it_is_that_of_torch_or_timm(name, torch_timm):
    np.testing.assert_allclose(PAIRS[name](STEPS), torch_timm[name], rtol=1e-6)


@pytest.mark.parametrize("name", ONE_CYCLE)
def test_the_momentum_of_one_cycle_is_torch_s(name, torch_timm):
    momentum = ONE_CYCLE[name].momentum(0.95, 0.85)
    np.testing.assert_allclose(momentum(STEPS), torch_timm[f"{name}_momentum"], rtol=1e-6)


CYCLES = {
    "triangular": Cyclical(1e-4, 1e-2, rise_steps=700),
    "triangular2": Cyclical(1e-4, 1e-2, rise_steps=700, shape="triangular2"),
    "exponential": Cyclical(1e-4, 1e-2, rise_steps=700, shape="exp_range", gamma=0.9995),
    # A scale of its user's: written as a product.
    "own_scale": 1e-4 + (1e-2 - 1e-4) * Cyclical(0.0, 1.0, rise_steps=700) * TimeBased(1.0, 1e-3),
}


@pytest.mark.parametrize("name", CYCLES)
def test_it_is_a_cycle_of_tensorflow_addons(name, addons):
    np.testing.assert_allclose(CYCLES[name](STEPS), addons[f"cyclical_{name}"], rtol=1e-6)


PLATEAUS = {
    "torch_plateau_rel": {"threshold_mode": "rel"},
    "torch_plateau_abs": {"threshold_mode": "abs"},
    "torch_plateau_max": {"threshold_mode": "rel", "mode": "max"},
    "timm_plateau": {"threshold_mode": "rel"},
}


@pytest.mark.parametrize("name", PLATEAUS)
def test_it_reacts_to_plateaus_as_torch_and_timm_do(name, torch_timm):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    callback = ReduceOnPlateau(
        "loss",
        factor=0.5,
        patience=7 + 1,  # Theirs is how many epochs are let pass.
        min_delta=1e-3,
        cooldown=3,
        min_value=1e-4,
        **PLATEAUS[name],
    )
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, metric in enumerate(torch_timm["plateau_metrics"]):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, {"loss": 3.0 - metric if "max" in name else metric})
        rates.append(float(model.optimizer.learning_rate))
    expected = torch_timm[name]
    assert len(np.unique(expected)) > 5
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
