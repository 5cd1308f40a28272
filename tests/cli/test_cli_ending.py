"""Parts of a search that the command runs, by themselves."""

import types

import keras
import numpy as np
import pytest

from kerasreg.cli import _ending
from kerasreg.cli._record import SearchSettings


def test_a_regression_answers_in_the_units_of_its_file():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    parts = types.SimpleNamespace(target_mean=10.0, target_scale=2.0)
    x = np.array([[1.0, 2.0], [-3.0, 0.5]], "float32")
    raw = _ending._in_raw_units(model, parts)
    standardised = model.predict(x, verbose=0)
    np.testing.assert_allclose(raw.predict(x, verbose=0), 2.0 * standardised + 10.0, rtol=1e-5)


def test_a_classification_is_left_as_it_is():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, "softmax")])
    parts = types.SimpleNamespace(target_mean=0.0, target_scale=1.0)
    assert _ending._in_raw_units(model, parts) is model


def test_the_file_for_keras_is_whole_and_what_a_kill_has_left_is_gone(tmp_path):
    folder = tmp_path / "o[1]"
    (folder / "model" / ".staging-x" / "model").mkdir(parents=True)
    (folder / "model" / "1").mkdir()
    job = object.__new__(_ending.Ending)
    job.folder = str(folder)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    job._save(model)
    assert [one.name for one in (folder / "model").iterdir()] == ["1"]
    whole = (folder / "ensemble.keras").read_bytes()

    def save(path):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        job._save(types.SimpleNamespace(save=save))
    assert (folder / "ensemble.keras").read_bytes() == whole
    job._save(model)
    assert keras.saving.load_model(folder / "ensemble.keras").output_shape == (None, 1)
    assert sorted(one.name for one in folder.iterdir()) == ["ensemble.keras", "model"]


@pytest.mark.parametrize(
    ("given", "members"),
    [
        ({}, None),
        ({"order": "day"}, 1),
        ({"retrain": 3}, 3),
        ({"order": "day", "retrain": 0}, None),
    ],
)
def test_members_are_the_models_of_folds_or_trained_again(given, members):
    asked, lines = [], []
    job = object.__new__(_ending.Ending)
    job.settings = SearchSettings(**given)
    job.write, job.task = lines.append, types.SimpleNamespace(phase="before")
    selection = types.SimpleNamespace(
        rows=["a", "b"], model=lambda retrain=None: asked.append(retrain)
    )
    job._ensemble(selection)
    assert asked == [members]
    expected = [] if members is None else [f"trains {2 * members} members with all rows"]
    assert lines == expected
    assert job.task.phase == ("before" if members is None else "the training of the members")
