"""Writes `saved_with_old_names.*`: models as files held them before names changed.

The arguments `initial`, `warmup`, `decay`, `metric` and `start` have other names now. This
ran with the code at commit 4bc03f2 and runs with no later one:

    git worktree add ../old 4bc03f2
    cp tests/references/make_saved_with_old_names.py ../old
    cd ../old && python make_saved_with_old_names.py ../kerasreg/tests/references
"""

import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

from kerasreg import schedules
from kerasreg.layers import ScheduledDropout
from kerasreg.optimizers import DecoupledWeightDecay, Proximal, WeightAveraging
from kerasreg.regularizers import L1, L2

folder = pathlib.Path(sys.argv[1])
RATES = {
    "step": schedules.Step(0.5, 0.5, 2),
    "multi_step": schedules.MultiStep(0.5, [2, 4], 0.5),
    "time_based": schedules.TimeBased(0.5, 0.25),
    "trapezoid": schedules.WarmupStableDecay(0.5, 2, 2, 4),
    "restarts": schedules.CosineRestarts(0.5, 4, decay=0.5),
    "late": schedules.LateDropout(schedules.Step(0.5, 0.5, 2), 2),
    "inverse_sqrt": schedules.InverseSqrt(0.5, 2),
    "cyclical": schedules.Cyclical(0.0, 0.5, rise=2, fall=3),
}


def network(penalty, optimizer, **dropouts):
    layers = [ScheduledDropout(rate, seed=1, name=name) for name, rate in dropouts.items()]
    dense = keras.layers.Dense(2, kernel_regularizer=penalty, name="dense")
    model = keras.Sequential([keras.Input((3,)), *layers, dense])
    model.compile(optimizer, "mse")
    return model


def trained(model):
    x = np.random.default_rng(1).normal(size=(12, 3))
    model.fit(x, x[:, :2], batch_size=4, epochs=1, verbose=0)
    return model


keras.utils.set_random_seed(1)
decay = DecoupledWeightDecay(keras.optimizers.SGD(0.1), 0.25)
wrapped = trained(network(L2(schedules.Step(0.5, 0.5, 2)), WeightAveraging(decay, 2, 2), **RATES))
decay.decay.assign(0.125)
wrapped.save(folder / "saved_with_old_names.keras")
adam = keras.optimizers.Adam(0.01)
proximal = trained(network(L1(0.5), Proximal(adam, metric="plain")))
proximal.save(folder / "saved_with_old_names_proximal.keras")
checkpoint = tf.train.Checkpoint(model=wrapped, optimizer=wrapped.optimizer)
checkpoint.write(str(folder / "saved_with_old_names_checkpoint"))
values = {
    "kernel": wrapped.get_layer("dense").kernel.numpy().tolist(),
    "optimizer": [variable.numpy().tolist() for variable in wrapped.optimizer.variables],
    "rates": {name: [float(rate(step)) for step in range(10)] for name, rate in RATES.items()},
}
(folder / "saved_with_old_names.json").write_text(json.dumps(values, indent=1) + "\n")
