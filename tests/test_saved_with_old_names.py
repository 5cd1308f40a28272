"""Files of versions before 0.1.0, whose arguments had other names, load as they were saved."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasreg import optimizers, schedules

REFERENCES = pathlib.Path(__file__).parent / "references"
SAVED = json.loads((REFERENCES / "saved_with_old_names.json").read_text())


def assert_restored(optimizer):
    """All of the state is there, in which the weight decay was assigned last."""
    for variable, value in zip(optimizer.variables, SAVED["optimizer"], strict=True):
        np.testing.assert_array_equal(variable.numpy(), np.asarray(value, variable.dtype))
    assert float(optimizer.inner_optimizer.weight_decay) == 0.125


def test_a_saved_model_loads_with_its_schedules_wrappers_and_state():
    model = keras.models.load_model(REFERENCES / "saved_with_old_names.keras")
    for name, values in SAVED["rates"].items():
        schedule = model.get_layer(name).schedule
        assert [float(schedule(step)) for step in range(10)] == pytest.approx(values), name
        assert int(model.get_layer(name).step) == 3
    penalty = model.get_layer("dense").kernel.regularizer
    assert type(penalty.schedule) is schedules.Step
    assert (int(penalty.hyperparameter().step), float(penalty.strength)) == (3, 0.25)
    np.testing.assert_array_equal(model.get_layer("dense").kernel.numpy(), SAVED["kernel"])
    assert (model.optimizer.start_step, model.optimizer.period) == (2, 2)
    assert_restored(model.optimizer)


def test_a_checkpoint_of_the_old_optimizer_is_read_by_the_new_one():
    model = keras.models.load_model(REFERENCES / "saved_with_old_names.keras", compile=False)
    inner = optimizers.DecoupledWeightDecay(keras.optimizers.SGD(0.5), 0.5)
    optimizer = optimizers.WeightAveraging(inner, 2, period=2)
    optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    status = checkpoint.read(str(REFERENCES / "saved_with_old_names_checkpoint"))
    status.assert_existing_objects_matched()
    assert_restored(optimizer)


def test_a_saved_proximal_optimizer_has_its_step_size():
    model = keras.models.load_model(REFERENCES / "saved_with_old_names_proximal.keras")
    assert model.optimizer.step_size == "learning_rate"
    assert int(model.optimizer.iterations) == 3


# What `get_config` returned before, and what has the same arguments now.
OLD_CONFIGS = {
    "step": (
        schedules.Step,
        {"initial": 0.5, "factor": 0.5, "every": 2},
        schedules.Step(0.5, 0.5, 2),
    ),
    "milestones": (
        schedules.MultiStep,
        {"initial": 0.5, "milestones": [2], "factor": 0.1},
        schedules.MultiStep(0.5, [2]),
    ),
    "time": (
        schedules.TimeBased,
        {"initial": 0.5, "decay": 0.25},
        schedules.TimeBased(0.5, decay=0.25),
    ),
    "root": (
        schedules.InverseSqrt,
        {"peak": 0.5, "warmup": 2},
        schedules.InverseSqrt(0.5, warmup_steps=2),
    ),
    "trapezoid": (
        schedules.WarmupStableDecay,
        {"peak": 0.5, "warmup": 1, "stable": 2, "decay": 3, "start": 0.1},
        schedules.WarmupStableDecay(0.5, 1, stable_steps=2, decay_steps=3, start=0.1),
    ),
    "restarts": (
        schedules.CosineRestarts,
        {"peak": 0.5, "steps": 4, "decay": 0.25},
        schedules.CosineRestarts(0.5, 4, peak_factor=0.25),
    ),
    "triangles": (
        schedules.Cyclical,
        {"low": 0.1, "high": 0.5, "rise": 2, "fall": 3},
        schedules.Cyclical(0.1, 0.5, rise_steps=2, fall_steps=3),
    ),
    "late": (
        schedules.LateDropout,
        {"rate": 0.5, "start": 2},
        schedules.LateDropout(0.5, start_step=2),
    ),
}


@pytest.mark.parametrize("name", OLD_CONFIGS)
def test_an_old_config_makes_the_schedule_that_it_was_of(name):
    kind, config, expected = OLD_CONFIGS[name]
    assert kind.from_config(config) == expected
    assert kind.from_config(expected.get_config()) == expected


@pytest.mark.parametrize(
    ("old", "new"), [("scaled", "per_weight"), ("plain", "learning_rate"), (None, "learning_rate")]
)
def test_an_old_metric_of_proximal_is_a_step_size(old, new):
    config = optimizers.Proximal(keras.optimizers.SGD(0.1), new).get_config()
    if old is not None:
        assert config.pop("step_size") == new
        config["metric"] = old
    assert optimizers.Proximal.from_config(config).step_size == new
