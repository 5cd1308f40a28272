"""Saves what users have on disk with kerasreg as it was before its names changed.

    python tests/references/make_saved_before.py /tmp/saved_before
    cd /tmp/saved_before && zip -9 -r .../tests/references/saved_before.zip .

It was run once, with the sources of commit 4bc03f2, and cannot run with later ones: that is
its purpose. `tests/test_saved_before.py` reads what it wrote.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import keras
import keras_tuner
import numpy as np

import kerasreg
from kerasreg import layers, optimizers, regularizers, schedules

RNG = np.random.default_rng(3)
X = RNG.normal(size=(8, 6)).astype("float32")
Y = (X[:, :1] - 0.5 * X[:, 1:2]).astype("float32")


def ramp(low=0.1, high=0.4):
    return schedules.Linear(low, high, 20)


def functions_of_the_step():
    """Every schedule, with the arguments by the names that they had."""
    return {
        "Constant": schedules.Constant(0.2),
        "Warmup": schedules.Warmup(ramp(), steps=3, start=0.05),
        "CurriculumDropout": schedules.CurriculumDropout(rate=0.3, steps=9),
        "EarlyDropout": schedules.EarlyDropout(rate=0.3, steps=3),
        "LateDropout": schedules.LateDropout(rate=0.3, start=2),
        "Scaled": schedules.Scaled(ramp(), factor=0.5),
        "Sum": schedules.Sum([schedules.Constant(0.1), ramp()]),
        "Product": schedules.Product([schedules.Constant(0.5), ramp()]),
        "Clipped": schedules.Clipped(ramp(), minimum=0.15, maximum=0.3),
        "Shifted": schedules.Shifted(ramp(), steps=2),
        "InEpochs": schedules.InEpochs(ramp(), steps_per_epoch=2, staircase=True),
        "Join": schedules.Join([schedules.Constant(0.1), ramp()], boundaries=[2]),
        "Linear": schedules.Linear(start=0.4, end=0.1, steps=4),
        "Cosine": schedules.Cosine(start=0.4, end=0.1, steps=4.5),
        "Polynomial": schedules.Polynomial(start=0.4, end=0.1, steps=4, power=2.0),
        "Piecewise": schedules.Piecewise(boundaries=[2, 5], values=[0.1, 0.4, 0.2]),
        "Step": schedules.Step(initial=0.4, factor=0.5, every=2),
        "MultiStep": schedules.MultiStep(initial=0.4, milestones=[2, 4], factor=[0.5, 1.5]),
        "TimeBased": schedules.TimeBased(initial=0.4, decay=0.5),
        "InverseSqrt": schedules.InverseSqrt(peak=0.4, warmup=3),
        "OneCycle": schedules.OneCycle(peak=0.4, steps=9, pct_start=0.4),
        "WarmupStableDecay": schedules.WarmupStableDecay(
            peak=0.4, warmup=2, stable=2, decay=3, minimum=0.1, start=0.2
        ),
        "Cyclical": schedules.Cyclical(low=0.1, high=0.4, rise=1, fall=2),
        "CosineRestarts": schedules.CosineRestarts(
            peak=0.4, steps=2, growth=1.5, decay=0.5, minimum=0.1
        ),
    }


def of_schedules():
    x = inputs = keras.Input((6,))
    for seed, (name, schedule) in enumerate(functions_of_the_step().items()):
        x = layers.ScheduledDropout(schedule, seed=seed, name=name.lower())(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(x))
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return model


def of_layers():
    inputs = keras.Input((6,))
    image = keras.layers.Reshape((3, 2, 1))(inputs)
    sequence = keras.layers.Reshape((3, 2))(inputs)
    volume = keras.layers.Reshape((3, 2, 1, 1))(inputs)
    dense = keras.layers.Dense(3, "tanh", name="connected")
    learned = keras.layers.Dense(3, "tanh", name="learned")
    branches = [
        layers.ScheduledDropout(ramp(), noise_shape=[None, 1], seed=1)(inputs),
        layers.ScheduledSpatialDropout1D(ramp(), seed=2)(sequence),
        layers.ScheduledSpatialDropout2D(ramp(), seed=3)(image),
        layers.ScheduledSpatialDropout3D(ramp(), seed=4)(volume),
        layers.ScheduledGaussianDropout(0.2, seed=5)(inputs),
        layers.ScheduledAlphaDropout(ramp(), seed=6)(inputs),
        layers.ScheduledDropBlock2D(ramp(), block_size=2, seed=7)(image),
        layers.ScheduledStochasticDepth(ramp(), seed=8)(inputs),
        layers.DropConnect(dense, ramp(), seed=9)(inputs),
        layers.ConcreteDropout(
            learned, 0.01, 0.01, initial_rate=0.3, temperature=ramp(0.2, 0.3), seed=10
        )(inputs),
    ]
    flat = [keras.layers.Flatten()(branch) for branch in branches]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(flat)))
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return model


def of_penalties():
    made = [
        regularizers.L1(ramp(), name="one"),
        regularizers.L2(0.1),
        regularizers.ElasticNet(ramp(), alpha=0.25),
        regularizers.GroupLasso(ramp(), axis=0),
        regularizers.SparseGroupLasso(0.1, l1_ratio=0.25),
        regularizers.MCP(ramp(), gamma=2.0),
        regularizers.SCAD(0.1, gamma=2.5),
        regularizers.Nuclear(ramp()),
        regularizers.SpectralNorm(0.1),
        regularizers.Orthogonal(0.1),
        regularizers.Hoyer(0.1),
        regularizers.TotalVariation(ramp(), axis=-1),
        regularizers.L1(0.1) + 0.5 * regularizers.GroupLasso(0.2)
        if hasattr(regularizers.L1, "__rmul__")
        else regularizers.Sum(
            [regularizers.L1(0.1), regularizers.GroupLasso(0.2)], strength=ramp()
        ),
    ]
    x = inputs = keras.Input((6,))
    for penalty in made:
        x = keras.layers.Dense(6, "tanh", kernel_regularizer=penalty)(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.SGD(0.05), "mse", run_eagerly=True)
    return model


def with_optimizer(optimizer):
    penalty = regularizers.L1(0.05)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, "tanh", kernel_regularizer=penalty, name="dense"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse", run_eagerly=True)
    return model


def sgd():
    return keras.optimizers.SGD(0.05, momentum=0.5)


OPTIMIZERS = {
    "proximal": lambda: optimizers.Proximal(keras.optimizers.Adam(0.02), metric="plain"),
    "proximal_scaled": lambda: optimizers.Proximal(keras.optimizers.Adam(0.02), metric="scaled"),
    "lookahead": lambda: optimizers.Lookahead(sgd(), sync_period=2),
    "averaging": lambda: optimizers.WeightAveraging(sgd(), start=2, period=2),
    "decay": lambda: optimizers.DecoupledWeightDecay(sgd(), 0.1, exclude=["bias"]),
    "scheduled_decay": lambda: optimizers.DecoupledWeightDecay(sgd(), ramp()),
    "rates": lambda: optimizers.LayerLearningRates(sgd(), {"dense*": 0.5}),
}


def fit(model, epochs):
    model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)


def save(folder, name, model):
    fit(model, 2)
    model.save(folder / f"{name}.keras")
    if name in ("layers", "averaging", "proximal"):
        model.save_weights(folder / f"{name}.weights.h5")
    said = {
        "predicted": model.predict(X, verbose=0).tolist(),
        "evaluated": model.evaluate(X, Y, verbose=0),
    }
    fit(model, 2)
    said["predicted after two more epochs"] = model.predict(X, verbose=0).tolist()
    return said


def build(hp):
    rate = hp.Float("rate", 0.01, 0.3, sampling="log")
    strength = hp.Float("strength", 1e-4, 1e-1, sampling="log")
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(3, "tanh", kernel_regularizer=regularizers.L2(strength)),
            layers.ScheduledDropout(0.1, seed=1),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def searches(folder):
    said = {}
    options = {"directory": folder, "seed": 1}
    data = {"x": X, "y": Y, "validation_data": (X, Y), "epochs": 3, "verbose": 0}
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=4, project_name="random", **options
    )
    tuner.search(**data)
    said["random"] = {trial.trial_id: trial.score for trial in tuner.oracle.trials.values()}
    said["best"] = tuner.get_best_models()[0].predict(X, verbose=0).tolist()
    population = kerasreg.tuners.PopulationBasedTraining(
        build, "val_loss", population=4, project_name="population", **options
    )
    population.search(**data)
    best = population.oracle.get_best_trials()[0]
    said["schedule of the best"] = {best.trial_id: population.schedule(best)}
    hyperband = keras_tuner.RandomSearch(
        build, "val_loss", max_trials=1, project_name="keras_tuner", overwrite=True, **options
    )
    hyperband.search(**data)
    return said


def command(folder):
    table = "a,b,price\n" + "".join(
        f"{a:.4f},{b:.4f},{2 * a - b:.4f}\n" for a, b in RNG.normal(size=(60, 2))
    )
    (folder / "houses.csv").write_text(table)
    arguments = ["search", "--data=houses.csv", "--target=price", "--trials=2", "--epochs=2"]
    subprocess.run(
        [sys.executable, "-m", "kerasreg", *arguments, "--output_dir=houses"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def main(target):
    folder = pathlib.Path(target)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(1)
    models = {"schedules": of_schedules, "layers": of_layers, "penalties": of_penalties}
    models |= {name: lambda make=make: with_optimizer(make()) for name, make in OPTIMIZERS.items()}
    said = {name: save(folder, name, make()) for name, make in models.items()}
    said["searches"] = searches(str(folder / "searches"))
    # A card of a model is written by `export`; its SavedModel is not kept, for its size.
    path = kerasreg.serving.export(of_layers(), folder / "exported", samples=X, mc_passes=4)
    shutil.copy(pathlib.Path(path) / "assets.extra" / "model_card.json", folder)
    shutil.rmtree(folder / "exported")
    command(folder)
    shutil.rmtree(folder / "houses" / "model", ignore_errors=True)
    (folder / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1])
