"""The contract of components, run on every class that the package exports.

Classes and functions are found through `__all__` of the rooms. A new component
needs one line in `EXAMPLES` and one in `REFUSED`; without them its tests fail.
"""

import copy
import dataclasses
import doctest
import functools
import importlib
import inspect
import json
import math
import pathlib
import pkgutil
import re

import keras
import numpy as np
import pytest
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

import kerasreg

# Rooms that hold no components, for which only docstrings are tested here.
TOOLS = {
    "distribute": "functions that choose a strategy and batches",
    "models": "functions of models, and what they return",
    "lanes": "no components: what trains many models that have them",
    "hypermodels": "KerasTuner serialises its own hypermodels, and no model holds them",
    "serving": "functions, and a result that is no part of a model",
    "spaces": "functions from hyperparameters to components",
    "tuners": "KerasTuner's tuners, functions, and an exception",
}

# Exported classes that cannot be made, and why.
ABSTRACT = {
    "callbacks.RangeTestResult": "what `find_learning_rate` returns",
    "layers.BaseScheduledDropout": "the base class: `drop` is for subclasses to define",
    "layers.NoiseStream": "what a noisy layer draws its keys from",
    "layers.NoisyLayer": "the base class of layers with a stream of noise",
    "random.Key": "what `key` returns",
    "schedules.Schedule": "the base class: `__call__` is for subclasses to define",
    "regularizers.Penalty": "the base class: `unit_penalty` is for subclasses to define",
}

RAMP = PolynomialDecay(0.8, 6, end_learning_rate=0.2)


def wrapped():
    """What is wrapped: a function, so that each component has one of its own."""
    initializer = keras.initializers.GlorotNormal(seed=7)
    return keras.layers.Dense(3, "tanh", kernel_initializer=initializer, name="inner")


def parts():
    """Penalties to add up, one of which moves by itself; new ones for each sum."""
    return [kerasreg.regularizers.L1(RAMP), kerasreg.regularizers.GroupLasso(0.3, axis=0)]


# The shape in which a layer of another rank is given the three features.
SHAPES = {
    "ScheduledSpatialDropout1D": (1, 3),
    "ScheduledSpatialDropout2D": (1, 1, 3),
    "ScheduledSpatialDropout3D": (1, 1, 1, 3),
    "ScheduledDropBlock2D": (3, 1, 1),
}

# Arguments of each class. The first ones are plain; the last ones, used in
# trainings, have whatever moves, and are strong enough to be seen in them.
EXAMPLES = {
    "initializers.DeltaOrthogonal": [{"seed": 3}, {"gain": 2.0, "seed": 1}],
    "initializers.DepthScaled": [
        {"depth": 12, "seed": 3},
        {"depth": 1, "initializer": keras.initializers.HeNormal(seed=5)},
    ],
    "initializers.Fixup": [
        {"depth": 4, "seed": 1},
        {"depth": 4, "last": True},
        {"depth": 2, "layers_in_branch": 3, "seed": 2},
    ],
    "initializers.Siren": [{"first": True, "seed": 1}, {"frequency": 2.0, "seed": 2}],
    "schedules.Constant": [{"value": 0.3}],
    "schedules.Warmup": [
        {"schedule": 0.3, "steps": 3, "start": 0.0},
        {"schedule": CosineDecay(0.5, 6), "steps": 2},
    ],
    "schedules.Hyperparameter": [{"value": 0.5}, {"value": RAMP, "argument": "factor"}],
    "schedules.CurriculumDropout": [
        {"rate": 0.5, "steps": 9},
        {"rate": 0.5, "steps": 9, "gamma": 0.5},
    ],
    "schedules.EarlyDropout": [
        {"rate": 0.5, "steps": 3},
        {"rate": 0.5, "steps": 5, "shape": "linear"},
    ],
    "schedules.LateDropout": [
        {"rate": 0.5, "start": 3},
        {"rate": PolynomialDecay(0.3, 6, 0.1), "start": 2},
    ],
    "schedules.Scaled": [{"schedule": 0.5, "factor": 2.0}, {"schedule": RAMP, "factor": 0.5}],
    "schedules.Sum": [{"schedules": [-0.2, PolynomialDecay(0.5, 6, 0.3)]}],
    "schedules.Product": [{"schedules": [0.5, RAMP]}],
    "schedules.Clipped": [
        {"schedule": 0.5, "minimum": 0.3},
        {"schedule": RAMP, "minimum": 0.2, "maximum": 0.4},
    ],
    "schedules.Shifted": [
        {"schedule": RAMP, "steps": -2},
        {"schedule": PolynomialDecay(0.4, 4, 0.1), "steps": 2},
    ],
    "schedules.InEpochs": [
        {"schedule": RAMP, "steps_per_epoch": 2, "staircase": True},
        {"schedule": RAMP, "steps_per_epoch": 0.5},
    ],
    "schedules.Join": [{"schedules": [0.1, PolynomialDecay(0.3, 4, 0.1)], "boundaries": [2]}],
    "schedules.Linear": [{"start": 0.5, "end": 0.1, "steps": 4}],
    "schedules.Cosine": [{"start": 0.5, "end": 0.1, "steps": 4.5}],
    "schedules.Polynomial": [{"start": 0.5, "end": 0.1, "steps": 4, "power": 2.0}],
    "schedules.Piecewise": [
        {"boundaries": [2, 5.5], "values": [0.1, 0.5, 0.3]},
        {"boundaries": [2, 5], "values": [0.1, 0.5, 0.3], "shape": "sqrt"},
    ],
    "schedules.Step": [{"initial": 0.5, "factor": 0.5, "every": 2}],
    "schedules.MultiStep": [
        {"initial": 0.3, "milestones": [2, 4]},
        {"initial": 0.3, "milestones": [2, 4], "factor": [0.5, 3.0]},
    ],
    "schedules.TimeBased": [{"initial": 0.5, "decay": 0.5}],
    "schedules.InverseSqrt": [{"peak": 0.5, "warmup": 3}],
    "schedules.OneCycle": [
        {"peak": 0.5, "steps": 6},
        {
            "peak": 0.5,
            "steps": 6,
            "pct_start": 0.4,
            "div_factor": 5.0,
            "final_div_factor": 10.0,
            "shape": "linear",
            "three_phase": True,
        },
    ],
    "schedules.WarmupStableDecay": [
        {"peak": 0.5, "warmup": 2, "stable": 2, "decay": 2},
        {
            "peak": 0.5,
            "warmup": 2,
            "stable": 2,
            "decay": 2,
            "minimum": 0.1,
            "start": 0.2,
            "shape": "sqrt",
        },
    ],
    "schedules.Cyclical": [
        {"low": 0.1, "high": 0.5, "rise": 2},
        {"low": 0.1, "high": 0.5, "rise": 1, "fall": 2, "shape": "triangular2"},
        {"low": 0.1, "high": 0.5, "rise": 2, "shape": "exp_range", "gamma": 0.9},
    ],
    "schedules.CosineRestarts": [
        {"peak": 0.5, "steps": 2},
        {
            "peak": 0.5,
            "steps": 2,
            "growth": 1.5,
            "decay": 0.5,
            "minimum": 0.1,
            "cycles": 2,
        },
    ],
    "regularizers.L1": [{"strength": 0.5}, {"strength": RAMP}],
    "regularizers.L2": [{"strength": 0.5, "name": "decay"}, {"strength": RAMP}],
    "regularizers.ElasticNet": [{"strength": 0.5}, {"strength": RAMP, "alpha": 0.25}],
    "optimizers.Proximal": [
        {"inner_optimizer": lambda: keras.optimizers.Adam(0.05), "metric": "plain"},
        {"inner_optimizer": lambda: keras.optimizers.SGD(0.2, momentum=0.5, nesterov=True)},
    ],
    "optimizers.Lookahead": [
        {"inner_optimizer": lambda: keras.optimizers.Adam(0.05)},
        {
            "inner_optimizer": lambda: keras.optimizers.SGD(0.2, momentum=0.5),
            "sync_period": 2,
            "slow_step_size": 0.3,
        },
    ],
    "optimizers.WeightAveraging": [
        {
            "inner_optimizer": lambda: keras.optimizers.SGD(0.2, momentum=0.5),
            "start": 2,
            "period": 2,
        },
    ],
    "optimizers.DecoupledWeightDecay": [
        {
            "inner_optimizer": lambda: keras.optimizers.Adam(0.05),
            "weight_decay": 0.1,
            "scaled_by_learning_rate": False,
        },
        {
            "inner_optimizer": lambda: keras.optimizers.SGD(0.2, momentum=0.5),
            "weight_decay": RAMP,
            "exclude": ["bias"],
        },
    ],
    "optimizers.LayerLearningRates": [
        {
            "inner_optimizer": lambda: keras.optimizers.SGD(0.2, momentum=0.5),
            "multipliers": {"bias": 2.0, "dense*": 0.5},
            "default": 3.0,
        },
    ],
    "regularizers.GroupLasso": [{"strength": 0.5, "axis": (0, -1)}, {"strength": RAMP}],
    "regularizers.SparseGroupLasso": [
        {"strength": 0.5},
        {"strength": RAMP, "l1_ratio": 0.25, "axis": 0},
    ],
    "regularizers.MCP": [{"strength": 0.5}, {"strength": RAMP, "gamma": 2.0}],
    "regularizers.SCAD": [{"strength": 0.5}, {"strength": RAMP, "gamma": 2.0}],
    "regularizers.Nuclear": [{"strength": 0.5}, {"strength": RAMP}],
    "regularizers.SpectralNorm": [{"strength": 0.5}, {"strength": RAMP}],
    "regularizers.Orthogonal": [{"strength": 0.5}, {"strength": RAMP}],
    "regularizers.Hoyer": [{"strength": 0.5}, {"strength": RAMP}],
    "regularizers.TotalVariation": [{"strength": 0.5, "axis": -1}, {"strength": RAMP}],
    "regularizers.Sum": [
        {"penalties": parts, "strength": 0.5},
        {"penalties": parts, "strength": RAMP},
    ],
    "layers.ScheduledDropout": [
        {"rate": 0.5, "noise_shape": [None, 1], "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2, "name": "drop"},
    ],
    "layers.ScheduledSpatialDropout1D": [
        {"rate": 0.5, "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.ScheduledSpatialDropout2D": [
        {"rate": 0.5, "data_format": "channels_first", "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.ScheduledSpatialDropout3D": [
        {"rate": 0.5, "data_format": "channels_first", "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.ScheduledGaussianDropout": [
        {"rate": 0.5, "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.ScheduledAlphaDropout": [
        {"rate": 0.5, "noise_shape": [None, 1], "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.ScheduledDropBlock2D": [
        {"rate": 0.5, "block_size": 1, "data_format": "channels_first", "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "block_size": 2, "seed": 2},
    ],
    "layers.ScheduledStochasticDepth": [
        {"rate": 0.5, "seed": 1},
        {"rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.DropConnect": [
        {"layer": wrapped, "rate": 0.5, "seed": 1},
        {"layer": wrapped, "rate": PolynomialDecay(0.5, 6, 0.1), "seed": 2},
    ],
    "layers.ConcreteDropout": [
        {"layer": wrapped, "noise_shape": [None, 1], "seed": 1},
        {
            "layer": wrapped,
            "weight_regularizer": PolynomialDecay(0.1, 6, 0.01),
            "dropout_regularizer": PolynomialDecay(0.1, 6, 0.01),
            "initial_rate": 0.3,
            "temperature": PolynomialDecay(1.0, 6, 0.1),
            "seed": 2,
        },
    ],
    "callbacks.LearningRateScheduler": [
        {"schedule": 0.3},
        {"schedule": CosineDecay(0.5, 6), "unit": "step", "warmup": 2},
    ],
    "callbacks.HyperparameterScheduler": [
        {"target": "dropout", "schedule": 0.3},
        {"target": "strength", "schedule": RAMP, "unit": "step", "warmup": 1},
        {"target": "momentum", "schedule": kerasreg.schedules.Linear(0.95, 0.8, 3)},
    ],
    "callbacks.OneCycle": [
        {"peak": 0.3},
        {
            "peak": 0.5,
            "length": 6,
            "pct_start": 0.4,
            "div_factor": 2.0,
            "final_div_factor": 3.0,
            "shape": "linear",
            "three_phase": True,
            "momentum": [0.8, 0.5],
        },
    ],
    "callbacks.LearningRateFinder": [{"low": 1e-3, "high": 0.5, "steps": 6, "smoothing": 0.5}],
    "callbacks.TimeStopping": [{"seconds": 3600, "unit": "step"}, {"seconds": 1e-9}],
    "callbacks.EpochStatistics": [{"per_layer": True}],
    "callbacks.AdaptiveRegularization": [
        {"target": "dropout:block*", "minimum": 0.1, "maximum": 0.5, "metric": "auc"},
        # The gap is above -10 in any epoch.
        {
            "target": "weight_decay",
            "minimum": 0.3,
            "maximum": 2.0,
            "low_gap": -11.0,
            "high_gap": -10.0,
            "factor": 1.5,
            "smoothing": 0.5,
        },
    ],
    "callbacks.FixedLearningRate": [{"learning_rate": 0.4, "unit": "step", "warmup": 3}],
    "callbacks.StepDecay": [{"learning_rate": 0.5, "factor": 0.25, "every": 1}],
    "callbacks.ExponentialDecay": [{"learning_rate": 0.5, "rate": 0.5, "warmup": 1}],
    "callbacks.TimeBasedDecay": [{"learning_rate": 0.5, "decay": 0.5, "unit": "step"}],
    "callbacks.CosineDecay": [{"learning_rate": 0.5, "length": 3, "minimum": 0.1}],
    "callbacks.ReduceOnPlateau": [
        {"monitor": "val_auc", "mode": "max", "minimum": 1e-3},
        # Nothing improves by as much, so every epoch but the first reduces the rate.
        {"monitor": "loss", "factor": 0.0, "patience": 1, "min_delta": 100.0},
    ],
}

# Values that each argument refuses.
NUMBERS = [math.nan, math.inf, "0.1", None, True, [0.1]]
FRACTIONS = [*NUMBERS, -0.1, 1.1]
POSITIVE = [*NUMBERS, -0.1]
COUNTS = [-1, 0.5, "1", None, True]
OPTIONAL = [number for number in NUMBERS if number is not None]
LISTS = [[], None, 1, "1", [None], [math.nan], ["0.1"]]
TARGETS = [None, 1, "rate", "dropout:", "momentum:sgd", "Dropout"]
OPTIMIZERS = [None, "adam", keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())]
FLAGS = [None, 1, "yes"]
TURNS_NEGATIVE = PolynomialDecay(0.1, 5, end_learning_rate=-0.1)
AXES = [None, 0.5, "0", (), (0, 0), True]
SEEDS = [-1, 0.5, "1", True]
RATES = [*FRACTIONS, TURNS_NEGATIVE]
NOISE_SHAPES = ["11", 1, (0, None), (-1,), (0.5,)]
FORMATS = ["NHWC", 1]
LAYERS = [None, 1, "Dense"]
UNIT_AND_WARMUP = {"unit": ["day", None, 1], "warmup": COUNTS}
REFUSED = {
    "initializers.DeltaOrthogonal": {"gain": [*POSITIVE, 0.0], "seed": SEEDS},
    "initializers.DepthScaled": {
        "depth": [*COUNTS, 0],
        "branches": [*COUNTS, 0],
        "initializer": [3, "he_norml", np.sign],
        "seed": SEEDS,
    },
    "initializers.Fixup": {
        "depth": [*COUNTS, 0],
        "layers_in_branch": [*COUNTS, 0, 1],
        "seed": SEEDS,
    },
    "initializers.Siren": {"frequency": [*POSITIVE, 0.0], "seed": SEEDS},
    "schedules.Constant": {"value": NUMBERS},
    "schedules.Warmup": {
        "schedule": NUMBERS,
        "steps": COUNTS,
        "start": [number for number in NUMBERS if number is not None],
    },
    "schedules.Hyperparameter": {"value": [*POSITIVE, TURNS_NEGATIVE]},
    "schedules.CurriculumDropout": {
        "rate": FRACTIONS,
        "steps": [*COUNTS, 0],
        "gamma": [number for number in [*POSITIVE, 0.0] if number is not None],
    },
    "schedules.EarlyDropout": {
        "rate": FRACTIONS,
        "steps": [*COUNTS, 0],
        "shape": ["cosine", None],
    },
    "schedules.LateDropout": {"rate": NUMBERS, "start": COUNTS},
    "schedules.Scaled": {"schedule": NUMBERS, "factor": NUMBERS},
    "schedules.Sum": {"schedules": LISTS},
    "schedules.Product": {"schedules": LISTS},
    "schedules.Clipped": {
        "schedule": NUMBERS,
        "minimum": OPTIONAL,
        "maximum": [*OPTIONAL, 0.2],
    },
    "schedules.Shifted": {"schedule": NUMBERS, "steps": [*NUMBERS, 0.5]},
    "schedules.InEpochs": {
        "schedule": NUMBERS,
        "steps_per_epoch": [*POSITIVE, 0],
        "staircase": FLAGS,
    },
    "schedules.Join": {
        "schedules": [*LISTS, [0.1], [0.1, 0.2, 0.3]],
        "boundaries": [*LISTS, [0], [-1]],
    },
    "schedules.Linear": {"start": NUMBERS, "end": NUMBERS, "steps": [*POSITIVE, 0]},
    "schedules.Cosine": {"start": NUMBERS, "end": NUMBERS, "steps": [*POSITIVE, 0]},
    "schedules.Polynomial": {
        "start": NUMBERS,
        "end": NUMBERS,
        "steps": [*POSITIVE, 0],
        "power": [*POSITIVE, 0],
    },
    "schedules.Piecewise": {
        "boundaries": [*LISTS, [0, 1], [2, 2], [2, 1]],
        "values": [*LISTS, [0.1, 0.2]],
        "shape": ["step", None],
    },
    "schedules.Step": {"initial": NUMBERS, "factor": POSITIVE, "every": [*POSITIVE, 0]},
    "schedules.MultiStep": {
        "initial": NUMBERS,
        "milestones": [*LISTS, [2, 2], [0, 1]],
        "factor": [*POSITIVE, [0.5], [0.5, -0.5], []],
    },
    "schedules.TimeBased": {"initial": NUMBERS, "decay": POSITIVE},
    "schedules.InverseSqrt": {"peak": NUMBERS, "warmup": [*COUNTS, 0]},
    "schedules.OneCycle": {
        "peak": POSITIVE,
        "steps": [*POSITIVE, 0],
        "pct_start": [*FRACTIONS, 0, 1],
        "div_factor": [*POSITIVE, 0.9],
        "final_div_factor": [*POSITIVE, 0.9],
        "shape": ["sqrt", None],
        "three_phase": FLAGS,
    },
    "schedules.WarmupStableDecay": {
        "peak": [*POSITIVE, 0],
        "warmup": COUNTS,
        "stable": COUNTS,
        "decay": [*COUNTS, 0],
        "minimum": [*POSITIVE, 0.6],
        "start": [*OPTIONAL, -0.1, 0.6],
        "shape": ["step", None],
    },
    "schedules.Cyclical": {
        "low": NUMBERS,
        "high": [*NUMBERS, 0.05],
        "rise": [*POSITIVE, 0],
        "fall": [*OPTIONAL, 0],
        "shape": ["linear", None],
        "gamma": [*FRACTIONS, 0],
    },
    "schedules.CosineRestarts": {
        "peak": [*POSITIVE, 0],
        "steps": [*POSITIVE, 0],
        "growth": [*POSITIVE, 0.9],
        "decay": [*FRACTIONS, 0],
        "minimum": [*POSITIVE, 0.6],
        "cycles": [0, -1, 0.5, "1", True],
    },
    "regularizers.L1": {"strength": [*POSITIVE, TURNS_NEGATIVE]},
    "regularizers.L2": {"strength": [*POSITIVE, TURNS_NEGATIVE]},
    "regularizers.ElasticNet": {"strength": [*POSITIVE, TURNS_NEGATIVE], "alpha": FRACTIONS},
    "optimizers.Proximal": {
        "inner_optimizer": [
            None,
            "adam",
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
            kerasreg.optimizers.Proximal(keras.optimizers.SGD()),
        ],
        "metric": [None, 1, "Scaled", "exact"],
    },
    "optimizers.Lookahead": {
        "inner_optimizer": OPTIMIZERS,
        "sync_period": [*COUNTS, 0],
        "slow_step_size": FRACTIONS,
    },
    "optimizers.WeightAveraging": {
        "inner_optimizer": [*OPTIMIZERS, keras.optimizers.SGD(use_ema=True)],
        "start": [*COUNTS, 0],
        "period": [*COUNTS, 0],
    },
    "optimizers.DecoupledWeightDecay": {
        "inner_optimizer": [*OPTIMIZERS, keras.optimizers.AdamW()],
        "weight_decay": [*POSITIVE, TURNS_NEGATIVE],
        "exclude": [[1], [""], None, 3],
        "scaled_by_learning_rate": FLAGS,
    },
    "optimizers.LayerLearningRates": {
        "inner_optimizer": OPTIMIZERS,
        "multipliers": [None, {}, {"bias": -1.0}, {"bias": "1"}, {1: 1.0}, [0.1]],
        "default": POSITIVE,
    },
    "regularizers.GroupLasso": {"strength": [*POSITIVE, TURNS_NEGATIVE], "axis": AXES},
    "regularizers.SparseGroupLasso": {
        "strength": [*POSITIVE, TURNS_NEGATIVE],
        "l1_ratio": FRACTIONS,
        "axis": AXES,
    },
    "regularizers.MCP": {"strength": [*POSITIVE, TURNS_NEGATIVE], "gamma": [*POSITIVE, 0.0]},
    "regularizers.SCAD": {"strength": [*POSITIVE, TURNS_NEGATIVE], "gamma": [*POSITIVE, 1.0]},
    "regularizers.Nuclear": {"strength": [*POSITIVE, TURNS_NEGATIVE]},
    "regularizers.SpectralNorm": {"strength": [*POSITIVE, TURNS_NEGATIVE]},
    "regularizers.Orthogonal": {"strength": [*POSITIVE, TURNS_NEGATIVE]},
    "regularizers.Hoyer": {"strength": [*POSITIVE, TURNS_NEGATIVE]},
    "regularizers.TotalVariation": {
        "strength": [*POSITIVE, TURNS_NEGATIVE],
        "axis": [*AXES, (0, 1)],
    },
    "regularizers.Sum": {
        "penalties": [[], None, [keras.regularizers.L1(0.1)], 3],
        "strength": [*POSITIVE, TURNS_NEGATIVE],
    },
    "layers.ScheduledDropout": {
        "rate": RATES,
        "noise_shape": NOISE_SHAPES,
        "seed": SEEDS,
    },
    "layers.ScheduledStochasticDepth": {"rate": RATES, "seed": SEEDS},
    "layers.ScheduledSpatialDropout1D": {"rate": RATES, "seed": SEEDS},
    "layers.ScheduledSpatialDropout2D": {"rate": RATES, "data_format": FORMATS, "seed": SEEDS},
    "layers.ScheduledSpatialDropout3D": {"rate": RATES, "data_format": FORMATS, "seed": SEEDS},
    "layers.ScheduledGaussianDropout": {"rate": [*RATES, 1.0], "seed": SEEDS},
    "layers.ScheduledAlphaDropout": {
        "rate": [*RATES, 1.0],
        "noise_shape": NOISE_SHAPES,
        "seed": SEEDS,
    },
    "layers.ScheduledDropBlock2D": {
        "rate": RATES,
        "block_size": [*COUNTS, 0],
        "data_format": FORMATS,
        "seed": SEEDS,
    },
    "layers.DropConnect": {"layer": LAYERS, "rate": RATES, "seed": SEEDS},
    "layers.ConcreteDropout": {
        "layer": LAYERS,
        "weight_regularizer": [*POSITIVE, TURNS_NEGATIVE],
        "dropout_regularizer": [*POSITIVE, TURNS_NEGATIVE],
        "initial_rate": [*FRACTIONS, 0.0, 1.0],
        "temperature": [*POSITIVE, 0.0, TURNS_NEGATIVE],
        "noise_shape": NOISE_SHAPES,
        "seed": SEEDS,
    },
    "callbacks.LearningRateScheduler": {
        "schedule": [*POSITIVE, TURNS_NEGATIVE],
        **UNIT_AND_WARMUP,
    },
    "callbacks.HyperparameterScheduler": {
        "target": TARGETS,
        "schedule": [*FRACTIONS, TURNS_NEGATIVE],
        **UNIT_AND_WARMUP,
    },
    "callbacks.OneCycle": {
        "peak": POSITIVE,
        "length": [0, -1, 0.5, "1", True],
        "pct_start": [*FRACTIONS, 0, 1],
        "div_factor": [*POSITIVE, 0.9],
        "final_div_factor": [*POSITIVE, 0.9],
        "shape": ["sqrt", None],
        "three_phase": FLAGS,
        "momentum": [0.9, [0.9], [0.9, 1.1], [0.9, None], "no"],
    },
    "callbacks.LearningRateFinder": {
        "low": [*POSITIVE, 0.0],
        "high": [*NUMBERS, 1e-3],
        "steps": [*COUNTS, 4],
        "smoothing": [*FRACTIONS, 1.0],
        "divergence": [*NUMBERS, 1.0],
    },
    "callbacks.TimeStopping": {
        "seconds": [*POSITIVE, 0.0],
        "unit": ["day", None, 1],
        "backup_dir": [1, True],
    },
    "callbacks.EpochStatistics": {"per_layer": FLAGS},
    "callbacks.AdaptiveRegularization": {
        "target": [*TARGETS, "learning_rate", "momentum"],
        "minimum": [*POSITIVE, 0.0],
        "maximum": [*POSITIVE, 0.0, 1.1],
        "metric": [None, 1],
        "low": NUMBERS,
        "high": [*NUMBERS, 0.0],
        "factor": [*NUMBERS, 1.0],
        "patience": [*COUNTS, 0],
        "smoothing": [*FRACTIONS, 1.0],
        "mode": ["mean", None],
        "backup_dir": [1, True],
    },
    "callbacks.FixedLearningRate": {"learning_rate": POSITIVE, **UNIT_AND_WARMUP},
    "callbacks.StepDecay": {
        "learning_rate": POSITIVE,
        "factor": FRACTIONS,
        "every": [*COUNTS, 0],
        **UNIT_AND_WARMUP,
    },
    "callbacks.ExponentialDecay": {
        "learning_rate": POSITIVE,
        "rate": FRACTIONS,
        **UNIT_AND_WARMUP,
    },
    "callbacks.TimeBasedDecay": {
        "learning_rate": POSITIVE,
        "decay": POSITIVE,
        **UNIT_AND_WARMUP,
    },
    "callbacks.CosineDecay": {
        "learning_rate": [*POSITIVE, 0.0],
        "length": [*COUNTS, 0],
        "minimum": [*POSITIVE, 0.6],
        **UNIT_AND_WARMUP,
    },
    "callbacks.ReduceOnPlateau": {
        "monitor": [None, 1],
        "factor": FRACTIONS,
        "patience": [*COUNTS, 0],
        "mode": ["mean", None],
        "min_delta": POSITIVE,
        "cooldown": COUNTS,
        "minimum": POSITIVE,
        "backup_dir": [1, True],
        "target": TARGETS,
        "threshold_mode": ["relative", None],
    },
}

# Arguments that no class checks itself.
UNCHECKED = {
    "name": "Keras checks it",
    "kwargs": "Keras checks them",
    "argument": "what a class calls its own argument",
    "minimum of Hyperparameter": "what a class accepts itself",
    "maximum of Hyperparameter": "what a class accepts itself",
    "count_steps": "true or false to Python",
    "first": "true or false to Python",
    "last": "true or false to Python",
}


# What there is.


def rooms():
    return [name for name in kerasreg.__all__ if inspect.ismodule(getattr(kerasreg, name))]


def exported(room):
    module = importlib.import_module(f"kerasreg.{room}")
    return {f"{room}.{name}": getattr(module, name) for name in module.__all__}


PUBLIC = {name: value for room in rooms() for name, value in exported(room).items()}
COMPONENTS = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isclass(value) and name.split(".")[0] not in TOOLS and name not in ABSTRACT
}
# What a model holds, and is saved with it.
IN_MODELS = [
    name for name, cls in COMPONENTS.items() if not issubclass(cls, keras.callbacks.Callback)
]

# What draws something else on each replica.
NOISY = [
    name
    for name, cls in COMPONENTS.items()
    if issubclass(cls, keras.layers.Layer)
    and {"rate", "initial_rate"} & set(inspect.signature(cls).parameters)
]

# What only looks on: a training with it is the training without it.
WATCHERS = ["callbacks.EpochStatistics"]

# What ends a training itself, so that none is interrupted in its third epoch.
ENDING = ["callbacks.LearningRateFinder", "callbacks.TimeStopping"]

WRAPPERS = [name for name, cls in COMPONENTS.items() if issubclass(cls, keras.layers.Wrapper)]

WITH_VARIABLES = [name for name in IN_MODELS if issubclass(COMPONENTS[name], keras.layers.Layer)]

every_component = pytest.mark.parametrize("name", COMPONENTS)


# Those that are one function with other numbers, and which of them stands for the others.
_POLICIES = ("CosineDecay", "ExponentialDecay", "FixedLearningRate", "StepDecay", "TimeBasedDecay")
ALIKE = {
    # Functions of the step.
    ("schedules.Hyperparameter", "schedules.Join", "schedules.OneCycle"): [
        name for name in COMPONENTS if name.startswith("schedules.")
    ],
    # What they draw is there before a training.
    ("initializers.DepthScaled",): [n for n in COMPONENTS if n.startswith("initializers.")],
    # Schedules of the learning rate.
    ("callbacks.CosineDecay",): [f"callbacks.{name}" for name in _POLICIES],
    # Of one mask for whole channels.
    ("layers.ScheduledSpatialDropout2D",): [n for n in COMPONENTS if "SpatialDropout" in n],
}


def alike(names):
    """Of components that are alike, one or few stand for all where each takes long."""
    long = {name for standing, group in ALIKE.items() for name in group if name not in standing}
    return [pytest.param(n, marks=pytest.mark.long if n in long else ()) for n in names]


# Two trainings under two strategies take many seconds: one of each way that state, noise or an
# update could go wrong there; the others by `make test-long`.
ON_REPLICAS = (
    "callbacks.HyperparameterScheduler",
    "callbacks.ReduceOnPlateau",
    "layers.ConcreteDropout",
    "layers.DropConnect",
    "layers.ScheduledDropout",
    "optimizers.Proximal",
    "optimizers.WeightAveraging",
    "regularizers.GroupLasso",
    "regularizers.L2",
    "schedules.Hyperparameter",
)


def on_replicas(names):
    return [pytest.param(n, marks=() if n in ON_REPLICAS else pytest.mark.long) for n in names]


every_component_but_those_alike = pytest.mark.parametrize("name", alike(COMPONENTS))
every_component_in_models = pytest.mark.parametrize("name", IN_MODELS)


def examples(name):
    if name not in EXAMPLES:
        pytest.fail(f"kerasreg.{name} is exported, but has no line in EXAMPLES.")
    return EXAMPLES[name]


def arguments_of(name, which):
    """The arguments of an example of a class."""
    return {
        argument: value() if inspect.isfunction(value) else value
        for argument, value in examples(name)[which].items()
    }


def make(name, which=-1, folder=None):
    """The last example of a class, or another; `folder` is for those that keep state there."""
    cls, arguments = COMPONENTS[name], arguments_of(name, which)
    if folder is not None and "backup_dir" in inspect.signature(cls).parameters:
        arguments["backup_dir"] = str(folder)
    return cls(**arguments)


def test_the_battery_finds_the_components():
    assert {"regularizers.L2", "layers.ScheduledDropout", "schedules.Warmup"} <= set(COMPONENTS)


def test_every_room_is_exported():
    packages = {module.name for module in pkgutil.iter_modules(kerasreg.__path__) if module.ispkg}
    assert packages - {"cli"} == set(rooms())  # The command is no library.


def test_no_table_mentions_what_is_not_exported():
    assert set(EXAMPLES) == set(COMPONENTS)
    assert set(REFUSED) == set(COMPONENTS)
    assert set(TOOLS) <= set(rooms())
    assert set(ABSTRACT) <= set(PUBLIC)


def test_every_class_that_is_registered_with_keras_is_exported():
    registered = {
        cls
        for key, cls in keras.saving.get_custom_objects().items()
        if key.startswith("kerasreg>") and inspect.isclass(cls)
    }
    assert registered == set(COMPONENTS.values())


def test_the_abstract_base_of_penalties_cannot_be_used():
    with pytest.raises(NotImplementedError):
        kerasreg.regularizers.Penalty(0.1)(np.ones(3))


# A small model that uses a component.


@keras.saving.register_keras_serializable("kerasreg_tests")
class TimesHyperparameter(keras.layers.Layer):
    """Multiplies by a hyperparameter."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        if isinstance(factor, dict):
            factor = keras.saving.deserialize_keras_object(factor)
        self.factor = factor
        self.built = True

    def call(self, inputs):
        return inputs * keras.ops.cast(self.factor.current()[0], inputs.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "factor": keras.saving.serialize_keras_object(self.factor),
        }


@keras.saving.register_keras_serializable("kerasreg_tests")
class OfWindow(keras.initializers.Initializer):
    """A dense kernel by an initializer of convolutions, of which some take no other."""

    def __init__(self, initializer):
        if isinstance(initializer, dict):
            initializer = keras.saving.deserialize_keras_object(initializer)
        self.initializer = initializer

    def __call__(self, shape, dtype=None):
        return keras.ops.reshape(self.initializer((1, 1, math.prod(shape)), dtype=dtype), shape)

    def get_config(self):
        return {"initializer": keras.saving.serialize_keras_object(self.initializer)}


RATE = 0.2  # The learning rate, where the component is none.


def model_with(component, **compile_options):
    """A compiled model that uses a component, or None, and the callbacks of its training."""
    layers, penalty, rate, callbacks = [keras.Input((3,))], None, RATE, []
    initializer = keras.initializers.GlorotNormal(seed=3)
    if isinstance(component, keras.optimizers.schedules.LearningRateSchedule):
        rate = component
    elif isinstance(component, keras.regularizers.Regularizer):
        penalty = component
    elif isinstance(component, keras.initializers.Initializer):
        initializer = OfWindow(component)
    elif isinstance(component, keras.callbacks.Callback):
        callbacks = [component]
    elif isinstance(component, kerasreg.schedules.Hyperparameter):
        layers.append(TimesHyperparameter(component, name="times"))
    elif isinstance(component, keras.layers.Layer):
        shape = SHAPES.get(type(component).__name__)
        around = [keras.layers.Reshape(shape), keras.layers.Flatten()] if shape else []
        layers += [*around[:1], component, *around[1:]]
    elif isinstance(component, keras.optimizers.Optimizer):
        penalty = kerasreg.regularizers.L1(0.3)
    else:
        assert component is None, f"How is a {type(component).__name__} used in a model?"
    dense = keras.layers.Dense(1, kernel_regularizer=penalty, kernel_initializer=initializer)
    model = keras.Sequential([*layers, dense])
    decay = 0.01 if getattr(component, "target", None) == "weight_decay" else None
    optimizer = keras.optimizers.SGD(rate, momentum=0.5, weight_decay=decay)
    if isinstance(component, keras.optimizers.Optimizer):
        optimizer = component
    if keras.config.dtype_policy().name == "mixed_float16":
        # With a scale at which no step is skipped, so that all policies take as many.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**6)
    compile_options = {"jit_compile": False, **compile_options}
    model.compile(optimizer, "mse", **compile_options)
    return model, callbacks


def data():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(8, 3)).astype("float32")
    return x, (x @ [[1.0], [-0.5], [0.25]] + 0.5).astype("float32")


def fit(model, callbacks, epochs=3, **options):
    x, y = data()
    if any(hasattr(callback, "metric") for callback in callbacks):
        options["validation_data"] = (x, y)
    return model.fit(x, y, 4, epochs, verbose=0, shuffle=False, callbacks=callbacks, **options)


def trained(name, policy, absent=False, **compile_options):
    """The weights after a training with a component in a precision, or without it."""
    keras.config.set_dtype_policy(policy)
    component = make(name) if not absent else wrapped() if name in WRAPPERS else None
    model, callbacks = model_with(component, **compile_options)
    fit(model, callbacks)
    # Those that a model without the component has too: a rate may be learned.
    weights = [np.array(weight) for weight in model.weights if weight.name != "logit"]
    return np.concatenate([weight.ravel() for weight in weights])


def state(model):
    """The value of each variable, also the optimizer's."""
    return [np.array(variable) for variable in [*model.variables, *model.optimizer.variables]]


def assert_same_state(one, other):
    for mine, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# It serialises.


def behaviour(component):
    """What a component does, as numbers: two that are equal give equal ones."""
    if isinstance(component, keras.optimizers.schedules.LearningRateSchedule):
        return [float(component(step)) for step in range(12)]
    if isinstance(component, keras.callbacks.Callback):
        return component.get_config()
    if isinstance(component, keras.initializers.Initializer):
        return np.array(component((2, 2, 3, 4))).tolist()
    if isinstance(component, kerasreg.schedules.Hyperparameter):
        component = TimesHyperparameter(component)
    if isinstance(component, keras.optimizers.Optimizer):
        return [float(variable) for variable in component.variables] + steps_of(component)
    x = np.linspace(-1, 1, 60, dtype="float32")
    x = x.reshape(20, *SHAPES.get(type(component).__name__, (3,)))
    if isinstance(component, keras.regularizers.Regularizer):
        return [float(component(x)), *(float(variable) for variable in component.variables)]
    return [np.array(component(x, training=training)).tolist() for training in (True, True, False)]


def steps_of(optimizer):
    """The weights after each step of another optimizer with the same arguments."""
    model, _ = model_with(type(optimizer).from_config(optimizer.get_config()))
    x, y = data()
    found = []
    for _ in range(3):
        model.train_on_batch(x, y)
        found.append([np.array(weight).tolist() for weight in model.trainable_variables])
    return found


def all_examples():
    return [
        pytest.param(name, which, id=f"{name}-{which}")
        for name in COMPONENTS
        for which in range(len(EXAMPLES.get(name, [None])))
    ]


@pytest.mark.parametrize(("name", "which"), all_examples())
def test_the_config_is_json_and_makes_an_equal_component(name, which):
    component = make(name, which)
    config = json.loads(json.dumps(component.get_config(), allow_nan=False))
    again = type(component).from_config(config)
    assert type(again) is type(component)
    assert again.get_config() == component.get_config()
    assert behaviour(again) == behaviour(component)


@pytest.mark.parametrize(("name", "which"), all_examples())
def test_keras_serialises_it_under_the_name_of_the_package(name, which):
    component = make(name, which)
    serialised = json.loads(json.dumps(keras.saving.serialize_keras_object(component)))
    # Two rooms may have a name each that is the same, and then one is registered by another.
    assert serialised["registered_name"].startswith("kerasreg>")
    assert serialised["registered_name"] == keras.saving.get_registered_name(type(component))
    again = keras.saving.deserialize_keras_object(serialised)
    assert type(again) is type(component)
    assert behaviour(again) == behaviour(component)


@pytest.mark.parametrize("name", alike(IN_MODELS))
def test_a_saved_model_is_loaded_with_equal_outputs_losses_and_state(name, tmp_path):
    model, _ = model_with(make(name), run_eagerly=True)
    fit(model, [], epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same_state(model, loaded)
    x, y = data()
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    # And they go on alike.
    for one in (model, loaded):
        fit(one, [], epochs=1)
    assert_same_state(model, loaded)


# It deep-copies.


@every_component
def test_a_deep_copy_is_equal_and_goes_its_own_way(name):
    component = make(name)
    copied = copy.deepcopy(component)
    assert type(copied) is type(component)
    assert copied is not component
    assert copied.get_config() == component.get_config()
    variables = getattr(component, "variables", [])
    before = [np.array(variable) for variable in variables]
    for mine, theirs in zip(getattr(copied, "variables", []), variables, strict=True):
        assert mine is not theirs
        np.testing.assert_array_equal(mine, theirs)
        mine.assign(mine + 1)
    for value, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    assert behaviour(component) == behaviour(make(name))


@pytest.mark.parametrize("name", WITH_VARIABLES)
def test_a_deep_copy_of_one_that_was_used_goes_on_from_there(name):
    component = make(name)
    model, _ = model_with(component, run_eagerly=True)
    fit(model, [], epochs=1)
    values = [np.array(variable) for variable in component.variables]
    assert any(np.any(value != 0) for value in values)
    for value, variable in zip(values, copy.deepcopy(component).variables, strict=True):
        np.testing.assert_array_equal(value, variable)


# It computes the same in every precision and mode of execution.

MODES = {
    "eager": {"run_eagerly": True},
    "graph": {"jit_compile": False},
    "XLA": {"jit_compile": True},
}
# For weights and inputs of about 1: the unit roundoffs of the types that compute
# (2^-24, 2^-11, 2^-8), times ten for six steps.
TOLERANCES = {"float32": 1e-6, "mixed_float16": 5e-3, "mixed_bfloat16": 4e-2}


@pytest.fixture(scope="module")
def reference():
    """The weights of an eager float32 training with a component, or without it."""
    return functools.cache(
        lambda name, absent=False: trained(name, "float32", absent, run_eagerly=True)
    )


@every_component_but_those_alike
@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(policy, marks=pytest.mark.long if "mixed" in policy else ())
        for policy in TOLERANCES
    ],
)
def test_eager_graph_and_xla_trainings_give_equal_weights(name, policy, reference):
    expected = reference(name)
    difference = np.max(np.abs(expected - reference(name, absent=True)))
    # The component matters: its absence would be seen in any precision.
    assert (difference > 2 * max(TOLERANCES.values())) != (name in WATCHERS)
    for mode, options in MODES.items():
        if (mode, policy) == ("eager", "float32"):
            continue  # As `expected` was made.
        weights = trained(name, policy, **options)
        np.testing.assert_allclose(
            weights, expected, rtol=0, atol=TOLERANCES[policy], err_msg=f"{policy}, {mode}"
        )


# It works on one replica and on two.


@pytest.fixture(scope="session")
def replicas(request, run_python, tmp_path_factory):
    """What `component_contract_two_replicas.py` found for a component, in a process of its own.

    In one for each room, since several processes of pytest share the tests.
    """
    script = pathlib.Path(__file__).with_name("component_contract_two_replicas.py")
    asked = {
        item.callspec.params.get("name")  # Other modules have other parameters.
        for item in request.session.items
        if "replicas" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec")
    }

    @functools.cache
    def of_room(room):
        report = tmp_path_factory.mktemp("replicas") / "report.json"
        names = [n for n in EXAMPLES if n in asked and n.startswith(f"{room}.")]
        run_python(script, report, *names)
        return json.loads(report.read_text())

    return lambda name: of_room(name.partition(".")[0])


@pytest.mark.parametrize("name", on_replicas(COMPONENTS))
def test_two_replicas_train_as_one_device_does(name, replicas):
    examples(name)
    weights = replicas(name)["weights"]
    one, two = (np.array(weights[name][count]) for count in ("1", "2"))
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
    without = np.array(weights["none"]["1"])
    if name not in NOISY:  # Without noise there, as each replica has its own.
        assert (np.max(np.abs(one - without)) > 1e-2) != (name in WATCHERS)


@pytest.mark.parametrize("name", on_replicas(IN_MODELS))
def test_a_step_of_two_replicas_is_one_step(name, replicas):
    """The variables of the component itself: a strength, a rate, a count of steps."""
    one, two = (replicas(name)["state"][name][count] for count in ("1", "2"))
    assert two == one


def test_replicas_drop_different_elements(replicas):
    first, second = (np.array(mask) for mask in replicas("layers.ScheduledDropout")["masks"])
    for mask in (first, second):
        assert abs(mask.mean() - 0.5) < 4 * 0.5 / math.sqrt(mask.size)
    assert abs(np.mean(first == second) - 0.5) < 4 * 0.5 / math.sqrt(first.size)


# It resumes where it stopped.


class Interrupted(Exception):
    pass


class Interrupt(keras.callbacks.Callback):
    """Stops in the middle of the third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2:
            raise Interrupted


@pytest.mark.parametrize("name", alike([name for name in COMPONENTS if name not in ENDING]))
def test_backup_and_restore_continues_an_interrupted_training(name, tmp_path):
    def model_and_callbacks(folder):
        keras.utils.set_random_seed(1)
        model, callbacks = model_with(make(name, folder=folder), run_eagerly=True)
        return model, callbacks

    whole, callbacks = model_and_callbacks(tmp_path / "whole")
    fit(whole, callbacks, epochs=4)
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    broken, callbacks = model_and_callbacks(tmp_path / "state")
    with pytest.raises(Interrupted):
        fit(broken, callbacks + backup + [Interrupt()], epochs=4)
    resumed, callbacks = model_and_callbacks(tmp_path / "state")
    history = fit(resumed, callbacks + backup, epochs=4)
    assert history.epoch == [2, 3]
    assert_same_state(whole, resumed)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMPONENTS if name not in ENDING])
def test_initial_epoch_continues_a_training(name, tmp_path):
    whole, callbacks = model_with(make(name, folder=tmp_path / "whole"), run_eagerly=True)
    fit(whole, callbacks, epochs=4)
    parts, callbacks = model_with(make(name, folder=tmp_path / "state"), run_eagerly=True)
    with pytest.raises(Interrupted):
        fit(parts, [*callbacks, StopAfterTwoEpochs()], epochs=4)
    fit(parts, callbacks, epochs=4, initial_epoch=2)
    assert_same_state(whole, parts)


class StopAfterTwoEpochs(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise Interrupted


# It refuses bad arguments.


def refused_values():
    for name in COMPONENTS:
        for argument, values in REFUSED.get(name, {}).items():
            for value in values:
                yield pytest.param(name, argument, value, id=f"{name}-{argument}-{value!r:.30}")


@pytest.mark.parametrize(("name", "argument", "value"), list(refused_values()))
def test_a_bad_argument_is_refused_with_what_is_accepted_and_what_was_received(
    name, argument, value
):
    arguments = {**arguments_of(name, 0), argument: value}
    if name == "schedules.Hyperparameter":
        arguments["argument"] = "value"
    with pytest.raises(ValueError, match=re.escape(f"`{argument}` must be ")) as error:
        COMPONENTS[name](**arguments)
    assert f"Received: {argument}=" in str(error.value)


@every_component
def test_every_argument_has_a_value_that_it_refuses(name):
    cls = COMPONENTS[name]
    checked = set(REFUSED.get(name, {}))
    for argument in inspect.signature(cls).parameters:
        unchecked = {argument, f"{argument} of {cls.__name__}"} & set(UNCHECKED)
        assert argument in checked or unchecked, f"`{argument}` has no line in REFUSED"


# It is documented.


def is_result(public):
    """Whether users meet it only as what a function returns or raises."""
    return inspect.isclass(public) and (
        issubclass(public, (tuple, Exception)) or dataclasses.is_dataclass(public)
    )


FOR_USERS = [name for name, public in PUBLIC.items() if not is_result(public)]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_has_a_summary(name):
    summary, *rest = inspect.getdoc(PUBLIC[name]).splitlines()
    assert summary.strip()
    assert summary.rstrip().endswith("."), "The first line is no sentence."
    assert not rest or not rest[0].strip(), "The summary is longer than one line."


@pytest.mark.parametrize("name", FOR_USERS)
def test_the_docstring_describes_every_argument(name):
    text = inspect.getdoc(PUBLIC[name])
    arguments = list(inspect.signature(PUBLIC[name]).parameters)
    assert not arguments or re.search(r"^Args:$", text, re.MULTILINE)
    for argument in arguments:
        # An entry of the list: `name: ...`, with the stars of `*args` and `**kwargs`.
        assert re.search(rf"^    \*{{0,2}}{argument}: ", text, re.MULTILINE), argument


@pytest.mark.parametrize("name", [name for name in FOR_USERS if name not in ABSTRACT])
def test_the_docstring_has_an_example_that_runs(name):
    text = inspect.getdoc(PUBLIC[name])
    assert re.search(r"^Example:$", text, re.MULTILINE)
    assert doctest.DocTestParser().get_examples(text)
