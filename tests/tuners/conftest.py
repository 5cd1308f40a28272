"""What the tests of searches with lanes share: data, and a hypermodel of values."""

import contextlib
import functools
import io
import os
import types

import keras
import pytest
from helpers import data
from helpers.scripts import module_of

from kerasreg import tuners
from kerasreg.lanes import Lanes
from kerasreg.layers import ScheduledDropout


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server of its own, for the tests of a file that ask for it."""
    for module in module_of("benchmarks/_postgres.py"):
        if (reason := module.missing()) is not None:
            pytest.skip(reason)
        with module.server() as server:
            yield server


@pytest.fixture(scope="session")
def blobs():
    return data.blobs(90, 60)


def _build(hp):
    """Trials differ in values, and begin with the same weights."""
    seeded = keras.initializers.GlorotUniform(seed=1)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, "tanh", kernel_initializer=seeded),
            ScheduledDropout(hp.Float("rate", 0.0, 0.5), seed=2),
            keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=3)),
        ]
    )
    model.compile(
        keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


@pytest.fixture(scope="session")
def build():
    return _build


@pytest.fixture(scope="session")
def searched(blobs, build, tmp_path_factory):
    """A random search with lanes that has ended: do not search on.

    Its `tuner`, the `folder` of its project, how many `lanes` each program began with, what
    was `printed`, and the names of the files `written`.
    """
    folder, lanes, fit = tmp_path_factory.mktemp("searched"), [], Lanes.fit
    written, replace = [], os.replace

    @functools.wraps(fit)
    def counted(self, *args, **kwargs):
        lanes.append(len(self))
        return fit(self, *args, **kwargs)

    def recorded(source, target):
        written.append(os.path.basename(target))
        replace(source, target)

    tuner = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=6, seed=5, directory=folder, project_name="project"
    )
    x, y, validation_data = blobs
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as printed,
    ):
        patch.setattr(Lanes, "fit", counted)
        patch.setattr(os, "replace", recorded)
        tuner.search(x, y, epochs=3, batch_size=16, validation_data=validation_data)
    return types.SimpleNamespace(
        tuner=tuner, folder=folder, lanes=lanes, printed=printed.getvalue(), written=written
    )


@pytest.fixture
def made_ahead(monkeypatch):
    """How many lanes were made before their trials were built."""
    counts = []
    precompile = Lanes.precompile

    def counted(self, *args, **kwargs):
        precompile(self, *args, **kwargs)
        counts.append(len(self))

    monkeypatch.setattr(Lanes, "precompile", counted)
    return counts


@pytest.fixture
def trainings(monkeypatch):
    """How many lanes each program began with."""
    counts = []
    fit = Lanes.fit

    @functools.wraps(fit)
    def counted(self, *args, **kwargs):
        counts.append(len(self))
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Lanes, "fit", counted)
    return counts
