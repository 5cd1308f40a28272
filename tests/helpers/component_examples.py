"""Arguments of each component, and values that it refuses: what the contract is run with.

A new component needs a line in `EXAMPLES` and one in `REFUSED`; without them its tests fail.
"""

import importlib
import inspect
import math

import keras
import numpy as np
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

import kerasreg

# Packages that hold no components, for which only docstrings are tested here.
TOOLS = {
    "distribute": "functions that choose a strategy and batches",
    "models": "functions of models, and what they return",
    "losses": "no part of a model: see tests/losses",
    "lanes": "no components: what trains many models that have them",
    "hypermodels": "KerasTuner serialises its own hypermodels, and no model holds them",
    "reports": "what a search found, and functions that tell it",
    "serving": "functions, and a result that is no part of a model",
    "spaces": "functions from hyperparameters to components",
    "testing": "functions that check components",
    "tuners": "KerasTuner's tuners, functions, and an exception",
}

# Exported classes that cannot be made, and why.
ABSTRACT = {
    "callbacks.RangeTestResult": "what `find_learning_rate` returns",
    "callbacks.RangeTestRow": "a row of what it returns",
    "layers.BaseScheduledDropout": "the base class: `drop` is for subclasses to define",
    "layers.NoisyLayer": "the base class of layers with a stream of noise",
    "random.Key": "what `key` returns",
    "schedules.Schedule": "the base class: `__call__` is for subclasses to define",
    "regularizers.Penalty": "the base class: `unit_penalty` is for subclasses to define",
    "tables.Column": "a column in what `read_columns` returns",
    "tables.Columns": "what `read_columns` returns",
    "tables.DateNumbers": "takes text, which no training is of: see tests/tables",
    "tables.Table": "makes layers and is none",
}
# Layers among these, which are registered with Keras.
OF_TEXT = ["tables.DateNumbers"]

RAMP = PolynomialDecay(0.8, 6, end_learning_rate=0.2)


def wrapped():
    """What is wrapped: a function, so that each component has one of its own."""
    initializer = keras.initializers.GlorotNormal(seed=7)
    return keras.layers.Dense(3, "tanh", kernel_initializer=initializer, name="inner")


def parts():
    """Penalties to add up, one of which moves by itself; new ones for each sum."""
    return [kerasreg.regularizers.L1(RAMP), kerasreg.regularizers.GroupLasso(0.3, axis=0)]


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
        {"rate": 0.5, "start_step": 3},
        {"rate": PolynomialDecay(0.3, 6, 0.1), "start_step": 2},
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
    "schedules.Step": [{"start": 0.5, "factor": 0.5, "every": 2}],
    "schedules.MultiStep": [
        {"start": 0.3, "milestones": [2, 4]},
        {"start": 0.3, "milestones": [2, 4], "factor": [0.5, 3.0]},
    ],
    "schedules.TimeBased": [{"start": 0.5, "decay": 0.5}],
    "schedules.InverseSqrt": [{"peak": 0.5, "warmup_steps": 3}],
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
        {"peak": 0.5, "warmup_steps": 2, "stable_steps": 2, "decay_steps": 2},
        {
            "peak": 0.5,
            "warmup_steps": 2,
            "stable_steps": 2,
            "decay_steps": 2,
            "minimum": 0.1,
            "start": 0.2,
            "shape": "sqrt",
        },
    ],
    "schedules.Cyclical": [
        {"low": 0.1, "high": 0.5, "rise_steps": 2},
        {"low": 0.1, "high": 0.5, "rise_steps": 1, "fall_steps": 2, "shape": "triangular2"},
        {"low": 0.1, "high": 0.5, "rise_steps": 2, "shape": "exp_range", "gamma": 0.9},
    ],
    "schedules.CosineRestarts": [
        {"peak": 0.5, "steps": 2},
        {
            "peak": 0.5,
            "steps": 2,
            "growth": 1.5,
            "peak_factor": 0.5,
            "minimum": 0.1,
            "cycles": 2,
        },
    ],
    "regularizers.L1": [{"strength": 0.5}, {"strength": RAMP}],
    "regularizers.L2": [{"strength": 0.5, "name": "decay"}, {"strength": RAMP}],
    "regularizers.ElasticNet": [{"strength": 0.5}, {"strength": RAMP, "alpha": 0.25}],
    "optimizers.Proximal": [
        {"inner_optimizer": lambda: keras.optimizers.Adam(0.05), "step_size": "learning_rate"},
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
            "start_step": 2,
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
            "multipliers": {"bias": 2.0, "head": 0.5},
            "default": 3.0,
        },
        {
            "inner_optimizer": lambda: keras.optimizers.SGD(0.2, momentum=0.5),
            "multipliers": {"bias": RAMP},
            "default": RAMP,
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
        {"layer": wrapped, "initial_rate": 0.3, "noise_shape": [None, 1], "seed": 1},
        {
            "layer": wrapped,
            "weight_regularizer": PolynomialDecay(0.1, 6, 0.01),
            "dropout_regularizer": PolynomialDecay(0.1, 6, 0.01),
            "initial_rate": 0.4,
            "temperature": PolynomialDecay(1.0, 6, 0.1),
            "seed": 2,
        },
    ],
    "layers.FeatureScale": [{}, {"name": "scale"}],
    "layers.MixUp": [
        {"alpha": 0.4, "seed": 1},
        {"alpha": PolynomialDecay(2.0, 6, 0.5), "seed": 2},
    ],
    "layers.PiecewiseLinearEmbedding": [
        {"edges": [[-1.0, 0.0, 0.0, 2.0]] * 3, "width": 4, "seed": 1},
        {"edges": [[-9.0, 0.0, 9.0]] * 3, "width": 1, "activation": "tanh", "seed": 2},
    ],
    "layers.PeriodicEmbedding": [
        {"frequencies": 3, "width": 4, "seed": 1},
        # At the learning rate of these trainings, frequencies that learn are chaotic.
        {
            **{"frequencies": 4, "width": 1, "sigma": 0.3},
            **{"initial_scale": 0.5, "seed": 2, "trainable": False},
        },
    ],
    "layers.CategoryEmbedding": [
        {"sizes": [2, 3, 4], "one_hot": 3, "unused": [[2, 1]], "seed": 1},
        {"sizes": [2, 3, 4], "width": 1, "one_hot": 1, "unused": [(0, 1)], "seed": 2},
    ],
    "tables.RobustScaling": [
        {"center": [0.0, 1.0, 2.0], "scale": [1.0, 2.0, 0.5], "indicators": [0, 2]},
        {"center": [0.5] * 3, "scale": [2.0] * 3},
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
            "steps": 6,
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
        {"target": "dropout:block*", "min_value": 0.1, "max_value": 0.5, "metric": "auc"},
        # The gap is above -10 in any epoch; the third one raises the decay, if it is counted.
        {
            "target": "weight_decay",
            "min_value": 0.3,
            "max_value": 2.0,
            "low_gap": -11.0,
            "high_gap": -10.0,
            "factor": 1.5,
            "patience": 3,
            "smoothing": 0.5,
        },
    ],
    "callbacks.FixedLearningRate": [{"learning_rate": 0.4, "unit": "step", "warmup": 3}],
    "callbacks.StepDecay": [{"learning_rate": 0.5, "factor": 0.25, "every": 1}],
    "callbacks.ExponentialDecay": [{"learning_rate": 0.5, "rate": 0.5, "warmup": 1}],
    "callbacks.TimeBasedDecay": [{"learning_rate": 0.5, "decay": 0.5, "unit": "step"}],
    "callbacks.CosineDecay": [{"learning_rate": 0.5, "length": 3, "minimum": 0.1}],
    "callbacks.ReduceOnPlateau": [
        {"monitor": "val_auc", "mode": "max", "min_value": 1e-3},
        # Nothing improves by as much, so every epoch but the first reduces the rate.
        {"monitor": "loss", "factor": 0.1, "patience": 1, "min_delta": 100.0},
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
    "schedules.LateDropout": {"rate": NUMBERS, "start_step": COUNTS},
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
    "schedules.Step": {"start": NUMBERS, "factor": POSITIVE, "every": [*POSITIVE, 0]},
    "schedules.MultiStep": {
        "start": NUMBERS,
        "milestones": [*LISTS, [2, 2], [0, 1]],
        "factor": [*POSITIVE, [0.5], [0.5, -0.5], []],
    },
    "schedules.TimeBased": {"start": NUMBERS, "decay": POSITIVE},
    "schedules.InverseSqrt": {"peak": NUMBERS, "warmup_steps": [*COUNTS, 0]},
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
        "warmup_steps": COUNTS,
        "stable_steps": COUNTS,
        "decay_steps": [*COUNTS, 0],
        "minimum": [*POSITIVE, 0.6],
        "start": [*OPTIONAL, -0.1, 0.6],
        "shape": ["step", None],
    },
    "schedules.Cyclical": {
        "low": NUMBERS,
        "high": [*NUMBERS, 0.05],
        "rise_steps": [*POSITIVE, 0],
        "fall_steps": [*OPTIONAL, 0],
        "shape": ["linear", None],
        "gamma": [*FRACTIONS, 0],
    },
    "schedules.CosineRestarts": {
        "peak": [*POSITIVE, 0],
        "steps": [*POSITIVE, 0],
        "growth": [*POSITIVE, 0.9],
        "peak_factor": [*FRACTIONS, 0],
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
        "step_size": [None, 1, "Per_weight", "exact"],
    },
    "optimizers.Lookahead": {
        "inner_optimizer": OPTIMIZERS,
        "sync_period": [*COUNTS, 0],
        "slow_step_size": FRACTIONS,
    },
    "optimizers.WeightAveraging": {
        "inner_optimizer": [*OPTIMIZERS, keras.optimizers.SGD(use_ema=True)],
        "start_step": [*COUNTS, 0],
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
        "multipliers": [
            *[None, {}, {"bias": -1.0}, {"bias": "1"}, {1: 1.0}, [0.1]],
            {"bias": TURNS_NEGATIVE},
        ],
        "default": [*POSITIVE, TURNS_NEGATIVE],
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
    "layers.FeatureScale": {},
    "layers.MixUp": {"alpha": [*POSITIVE, TURNS_NEGATIVE], "seed": SEEDS},
    "layers.PiecewiseLinearEmbedding": {
        "edges": [None, 1, "1", [[1.0]], [[0.0, math.nan]], [[1.0, 0.0]], [0.0, 1.0]],
        "width": [*COUNTS, 0],
        "activation": ["none such", 3],
        "initial_scale": [*POSITIVE, 0.0],
        "seed": SEEDS,
    },
    "layers.PeriodicEmbedding": {
        "frequencies": [*COUNTS, 0],
        "width": [*COUNTS, 0],
        "sigma": [*POSITIVE, 0.0],
        "activation": ["none such", 3],
        "initial_scale": [*POSITIVE, 0.0],
        "seed": SEEDS,
    },
    "layers.CategoryEmbedding": {
        "sizes": [[], None, 3, "3", [0], [0.5], [None]],
        "width": [*COUNTS, 0],
        "one_hot": COUNTS,
        "unused": [None, 1, [1], [(3, 0)], [(0, 2)], [(-1, 0)]],
        "initial_scale": [*POSITIVE, 0.0],
        "seed": SEEDS,
    },
    "tables.RobustScaling": {
        "center": [*LISTS, [[0.0]]],
        "scale": [*LISTS, [0.0, 1.0, 1.0], [1.0]],
        "indicators": [None, 1, [3], [-1], [0.5], [True], "0"],
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
        "steps": [0, -1, 0.5, "1", True],
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
        "min_value": [*POSITIVE, 0.0],
        "max_value": [*POSITIVE, 0.0, 1.1],
        "metric": [None, 1],
        "low_gap": NUMBERS,
        "high_gap": [*NUMBERS, 0.0],
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
        "min_value": POSITIVE,
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


def packages():
    return [name for name in kerasreg.__all__ if inspect.ismodule(getattr(kerasreg, name))]


def exported(package):
    module = importlib.import_module(f"kerasreg.{package}")
    return {f"{package}.{name}": getattr(module, name) for name in module.__all__}


PUBLIC = {name: value for package in packages() for name, value in exported(package).items()}
COMPONENTS = {
    name: value
    for name, value in PUBLIC.items()
    if inspect.isclass(value) and name.split(".")[0] not in TOOLS and name not in ABSTRACT
}

# What draws something else on each replica.
NOISY = [
    name
    for name, cls in COMPONENTS.items()
    if issubclass(cls, keras.layers.Layer)
    and {"rate", "initial_rate"} & set(inspect.signature(cls).parameters)
] + ["layers.MixUp"]

# What only looks on: a training with it is the training without it.
WATCHERS = ["callbacks.EpochStatistics"]

# What ends a training itself, so that none is interrupted in its third epoch.
ENDING = ["callbacks.LearningRateFinder", "callbacks.TimeStopping"]


def examples(name):
    assert name in EXAMPLES, f"kerasreg.{name} is exported, but has no line in EXAMPLES."
    return EXAMPLES[name]


def arguments_of(name, which):
    """The arguments of an example of a class."""
    return {
        argument: value() if inspect.isfunction(value) else value
        for argument, value in examples(name)[which].items()
    }


def maker(name, which=-1, **always):
    """What makes an example of a class, the last or another; other arguments may be given."""

    def make(**changed):
        return COMPONENTS[name](**{**arguments_of(name, which), **always, **changed})

    make.__signature__ = inspect.signature(COMPONENTS[name])  # Which says what may be given.
    return make


def on_replicas(name):
    """As `maker`, but without noise, as each replica has its own."""
    if name not in NOISY:
        return maker(name)
    # A schedule all the same: its step is counted.
    nothing = kerasreg.schedules.Linear(0.0, 0.0, 4)
    if name == "layers.MixUp":
        return maker(name, 0, alpha=nothing)
    if "rate" in inspect.signature(COMPONENTS[name]).parameters:
        return maker(name, 0, rate=nothing)
    # A rate that is learned: as small as it may be, so that nothing is dropped.
    return maker(name, initial_rate=0.001, temperature=0.01)


# By package, for processes with two replicas.
REPLICAS = {
    package: {name: on_replicas(name) for name in EXAMPLES if name.startswith(f"{package}.")}
    for package in sorted({name.partition(".")[0] for name in EXAMPLES})
}

# Two trainings under two strategies take a second or two each: of optimizers and callbacks,
# which are trained with one by one, one of each way that state or an update could go wrong.
# Schedules are functions of the step, which is a hyperparameter's.
ON_REPLICAS = {
    **REPLICAS["initializers"],
    **REPLICAS["layers"],
    **REPLICAS["regularizers"],
    **{
        name: on_replicas(name)
        for name in (
            "callbacks.HyperparameterScheduler",
            "callbacks.ReduceOnPlateau",
            "optimizers.Proximal",
            "optimizers.WeightAveraging",
            "schedules.Hyperparameter",
        )
    },
}
