"""Files that were saved before names changed are read: models, weights, searches, commands.

`references/make_saved_before.py` wrote them with the older sources, and said what they give.
"""

import json
import pathlib
import zipfile

import keras
import keras_tuner
import numpy as np
import pytest
from helpers.commands import command_inside, contents

import kerasreg
from kerasreg._keras import fused
from kerasreg.random import _bits

REFERENCES = pathlib.Path(__file__).parent / "references"
RNG = np.random.default_rng(3)
X = RNG.normal(size=(8, 6)).astype("float32")
Y = (X[:, :1] - 0.5 * X[:, 1:2]).astype("float32")

with zipfile.ZipFile(REFERENCES / "saved_before.zip") as archive:
    SAID = json.loads(archive.read("said.json"))
MODELS = [name for name in SAID if name != "searches"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    with zipfile.ZipFile(REFERENCES / "saved_before.zip") as archive:
        archive.extractall(folder)
    return folder


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.fixture
def masks_of_then(monkeypatch):
    """Random bits for elements that are counted in row-major order, as they were then."""
    monkeypatch.setattr(_bits, "_counters", _bits._numbers)
    fused._kernel.cache_clear()
    yield
    fused._kernel.cache_clear()


@pytest.mark.usefixtures("masks_of_then")
@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_the_same_and_trains_on_alike(folder, name):
    model = keras.models.load_model(folder / f"{name}.keras")
    close(model.predict(X, verbose=0), SAID[name]["predicted"])
    close(model.evaluate(X, Y, verbose=0), SAID[name]["evaluated"])
    model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    close(model.predict(X, verbose=0), SAID[name]["predicted after two more epochs"])


@pytest.mark.usefixtures("masks_of_then")
@pytest.mark.parametrize("name", ["layers", "averaging", "proximal"])
def test_a_weights_file_restores_weights_rates_strengths_and_slots(folder, name):
    model = keras.models.load_model(folder / f"{name}.keras")
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(keras.ops.zeros_like(variable))
    model.load_weights(folder / f"{name}.weights.h5")
    close(model.predict(X, verbose=0), SAID[name]["predicted"])
    model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    close(model.predict(X, verbose=0), SAID[name]["predicted after two more epochs"])


def build(hp):
    rate = hp.Float("rate", 0.01, 0.3, sampling="log")
    strength = hp.Float("strength", 1e-4, 1e-1, sampling="log")
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(3, "tanh", kernel_regularizer=kerasreg.regularizers.L2(strength)),
        kerasreg.layers.ScheduledDropout(0.1, seed=1),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def saved(kind, folder, project, **options):
    """A tuner of the same arguments in the folder of a search that was saved."""
    directory = str(folder / "searches")
    return kind(build, "val_loss", directory=directory, project_name=project, seed=1, **options)


def test_a_search_has_its_trials_and_its_best_model_and_goes_on(folder):
    tuner = saved(kerasreg.tuners.VectorizedRandomSearch, folder, "random", max_trials=5)
    said = SAID["searches"]
    assert {t.trial_id: t.score for t in tuner.oracle.trials.values()} == said["random"]
    close(tuner.get_best_models()[0].predict(X, verbose=0), said["best"])
    tuner.search(X, Y, validation_data=(X, Y), epochs=3, verbose=0)
    assert len(tuner.oracle.trials) == 5
    before = {name: tuner.oracle.trials[name].score for name in said["random"]}
    assert before == said["random"]


def test_the_schedule_of_a_population_is_read(folder):
    tuner = saved(kerasreg.tuners.PopulationBasedTraining, folder, "population", population=4)
    ((trial_id, schedule),) = SAID["searches"]["schedule of the best"].items()
    assert tuner.schedule(tuner.oracle.trials[trial_id]) == schedule


def test_a_search_of_keras_tuner_is_read(folder):
    tuner = saved(kerasreg.tuners.VectorizedRandomSearch, folder, "keras_tuner", max_trials=1)
    assert isinstance(tuner, keras_tuner.Tuner)
    assert tuner.get_best_models()[0].predict(X, verbose=0).shape == (8, 1)


def test_the_command_says_that_it_does_not_go_on_with_a_search_of_other_networks(folder):
    arguments = ["search", "--resume", "--output_dir=houses", "--trials=3"]
    before = contents(folder / "houses")
    done = command_inside(*arguments, cwd=folder)
    assert done.code == 2
    assert "an earlier version of kerasreg began it" in done.err
    assert len(done.err.splitlines()) == 1
    assert contents(folder / "houses") == before


def test_a_card_says_now_all_that_it_said_then(folder, tmp_path):
    model = keras.models.load_model(folder / "layers.keras")
    path = kerasreg.serving.export(model, tmp_path, samples=X, passes=4)
    now = json.loads((pathlib.Path(path) / "assets.extra" / "model_card.json").read_text())
    then = json.loads((folder / "model_card.json").read_text())
    assert set(then) <= set(now)
