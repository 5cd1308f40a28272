"""The user's own `fit`: what it does with lanes is what it does with KerasTuner alone."""

import os

import keras_tuner
import numpy as np
import pytest
from helpers import fit_bodies

from kerasreg import tuners

pytestmark = pytest.mark.shares_programs


def _search(kind, seed, folder):
    """A search over a generated body: its tuner, and what was noted for each trial."""
    body = fit_bodies.Body(seed, os.fspath(folder))
    tuner = kind(
        body,
        keras_tuner.Objective("loss", "min"),
        max_trials=2,
        seed=seed + 1,
        max_consecutive_failed_trials=9,
        directory=folder,
    )
    np.random.seed(seed)
    tuner.search(fit_bodies.X, fit_bodies.Y, verbose=0)
    return tuner, body


def _same(found, expected):
    if isinstance(expected, float):
        return found == pytest.approx(expected, rel=1e-3, abs=1e-5)
    return type(found) is type(expected) and found == expected


def _compare(seed, tmp_path):
    found, body = _search(tuners.VectorizedRandomSearch, seed, tmp_path / "found")
    expected, alone = _search(keras_tuner.RandomSearch, seed, tmp_path / "expected")
    assert sorted(map(int, found.oracle.trials)) == sorted(map(int, expected.oracle.trials))
    trials = {int(name): trial for name, trial in found.oracle.trials.items()}
    for name, trial in expected.oracle.trials.items():
        mine = trials[int(name)]
        assert mine.hyperparameters.values == trial.hyperparameters.values
        assert mine.status == trial.status, mine.message
        number = trial.hyperparameters.get("number")
        notes, wanted = body.notes[number], alone.notes[number]
        assert [note[0] for note in notes] == [note[0] for note in wanted]
        for note, other in zip(notes, wanted, strict=True):
            assert len(note) == len(other), (note, other)
            assert all(map(_same, note, other)), (note, other)
        if trial.status != "COMPLETED":
            error = trial.message.strip().splitlines()[-1]
            assert mine.message.strip().splitlines()[-1] == error
            continue
        assert mine.score == pytest.approx(trial.score, rel=1e-3, abs=1e-5)
        try:
            weights = expected.load_model(trial).get_weights()
        except (OSError, ValueError):  # No callback was asked: KerasTuner kept nothing.
            continue
        for value, other in zip(found.load_model(mine).get_weights(), weights, strict=True):
            np.testing.assert_allclose(value, other, rtol=1e-3, atol=1e-5)
    return body


# They have all statements and all endings.
BODIES = (0, 3, 7, 10, 11, 12, 13, 88)


def test_the_bodies_have_all_statements_and_endings(tmp_path):
    def parts(seeds):
        bodies = [fit_bodies.Body(seed, tmp_path) for seed in seeds]
        return {part for b in bodies for part in [b.ending, *(name for name, _ in b.statements)]}

    assert parts(BODIES) == parts(range(200))


@pytest.mark.parametrize("seed", BODIES)
def test_a_body_of_fit_does_what_it_does_alone(seed, tmp_path):
    _compare(seed, tmp_path)


# It freezes a layer between two trainings and does not compile: Keras goes on with the function
# that it has traced, which trains the layer, and lanes do not. Keras warns that it may.
FREEZES = pytest.param(110, marks=pytest.mark.xfail(strict=True, reason="frozen, not compiled"))


@pytest.mark.long
@pytest.mark.parametrize("seed", [*sorted({*range(200)} - {*BODIES, 110}), FREEZES])
def test_any_body_of_fit_does_what_it_does_alone(seed, tmp_path):
    _compare(seed, tmp_path)
