"""A program that compiles while models are built changes no result of a search."""

import keras
import pytest

from kerasreg import tuners
from kerasreg.lanes import Lanes

pytestmark = pytest.mark.shares_programs


@pytest.fixture
def nothing_ahead(monkeypatch):
    """Makes every attempt to compile ahead fail, from the call on."""

    def fail(self, *args, **kwargs):
        raise RuntimeError("no memory")

    return lambda: monkeypatch.setattr(Lanes, "precompile", fail)


def search(build, blobs, folder, **arguments):
    x, y, validation_data = blobs
    tuner = tuners.VectorizedRandomSearch(build, "val_loss", seed=5, directory=folder, **arguments)
    given = {"epochs": 1, "batch_size": 16, "validation_data": validation_data, "verbose": 0}
    tuner.search(x, y, **given)
    return [(trial.hyperparameters.values, trial.score) for trial in tuners.completed_trials(tuner)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("trials", "lanes", "expected"),
    [
        (8, 128, [8]),
        (12, 8, [8]),  # The last four take lanes of the first eight.
        (7, 128, []),  # Too few to be worth it.
    ],
)
def test_scores_are_the_same(
    trials, lanes, expected, build, blobs, tmp_path, made_ahead, nothing_ahead
):
    found = search(build, blobs, tmp_path / "ahead", max_trials=trials, max_lanes=lanes)
    assert made_ahead == expected
    nothing_ahead()
    assert found == search(build, blobs, tmp_path / "not", max_trials=trials, max_lanes=lanes)
    assert made_ahead == expected
    assert len(found) == trials


def test_what_was_foreseen_wrongly_or_failed_is_dropped(
    blobs, build, tmp_path, made_ahead, nothing_ahead
):
    def any_structure(hp):
        if hp.Choice("other", [False, True]):
            seeded = keras.initializers.GlorotUniform(seed=1)
            layer = keras.layers.Dense(3, kernel_initializer=seeded)
            model = keras.Sequential([keras.Input((6,)), layer])
            model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            return model
        return build(hp)

    found = search(any_structure, blobs, tmp_path / "ahead", max_trials=12)
    assert made_ahead
    nothing_ahead()
    assert found == search(any_structure, blobs, tmp_path / "not", max_trials=12)
