"""KerasTuner's own tuners that build the hypermodel once before the first trial, not 70 times."""

import keras_tuner
import pytest


@pytest.fixture
def one_build(monkeypatch):
    """That the space is the same is tested in `tests/tuners/test_space.py`."""

    def declare(self):
        hp = self.oracle.get_space()
        self.hypermodel.build(hp)
        self.oracle.update_space(hp)

    monkeypatch.setattr(keras_tuner.RandomSearch, "_populate_initial_space", declare)
