"""Before the first trial a tuner learns the space: by one build where one is known to be enough."""

import keras
import keras_tuner
import pytest

from kerasreg import tuners
from kerasreg.hypermodels import DenseHyperModel

pytestmark = pytest.mark.shares_programs


class Interrupted(tuners.VectorizedRandomSearch):
    """A search that ends when its first trial begins."""

    def on_trial_begin(self, trial):
        raise KeyboardInterrupt


def dense(cls=DenseHyperModel):
    return cls(features=2, classes=2, epochs=5, samples=8, widths=(2, 4), depths=(1, 2), seed=1)


@pytest.fixture
def builds(monkeypatch):
    """The hyperparameters of each build of a `DenseHyperModel`."""
    calls = []
    build = DenseHyperModel.build

    def counted(self, hp):
        calls.append(hp)
        return build(self, hp)

    monkeypatch.setattr(DenseHyperModel, "build", counted)
    return calls


def model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def space(tuner):
    return [hp.get_config() for hp in tuner.oracle.get_space().space]


def interrupted(folder):
    tuner = Interrupted(dense(), "val_loss", max_trials=2, directory=folder, seed=1)
    with pytest.raises(KeyboardInterrupt):
        tuner.search(verbose=0)
    return tuner


def test_a_dense_hypermodel_is_built_once_before_the_first_trial(builds, tmp_path):
    started = interrupted(tmp_path)
    assert len(builds) == 1
    resumed = interrupted(tmp_path)
    assert len(builds) == 1  # The space is in the file of the oracle.
    kerastuners = keras_tuner.RandomSearch(dense(), "val_loss", directory=tmp_path / "other")
    assert len(builds) > 10
    assert space(started) == space(resumed) == space(kerastuners)


def test_a_subclass_with_another_build_promises_nothing(builds, tmp_path):
    class Other(DenseHyperModel):
        def build(self, hp):
            builds.append(hp)
            kind = hp.Choice("kind", ["plain", "noisy"])
            with hp.conditional_scope("kind", ["noisy"]):
                if kind == "noisy":
                    hp.Float("noise", 0.0, 1.0)
            return model()

    tuner = tuners.VectorizedRandomSearch(dense(Other), "val_loss", directory=tmp_path)
    assert len(builds) > 1
    assert [config["name"] for config in space(tuner)] == ["kind", "noise"]


def test_a_subclass_that_trains_otherwise_keeps_the_promise(builds, tmp_path):
    class Other(DenseHyperModel):
        def fit(self, hp, model, *args, **kwargs):
            return {"val_loss": 0.0}

    tuners.VectorizedRandomSearch(dense(Other), "val_loss", directory=tmp_path)
    assert len(builds) == 1


@pytest.mark.parametrize(
    "cls",
    [
        tuners.VectorizedRandomSearch,
        tuners.VectorizedGridSearch,
        tuners.VectorizedHyperband,
        tuners.PopulationBasedTraining,
    ],
)
def test_a_conditional_function_of_the_user_is_explored(cls, tmp_path):
    calls = []

    def build(hp):
        calls.append(None)
        kind = hp.Choice("kind", ["linear", "deep"])
        with hp.conditional_scope("kind", ["deep"]):
            if kind == "deep":
                for index in range(hp.Int("layers", 1, 3, default=2)):
                    hp.Int(f"units_{index}", 1, 8)
        return model()

    found = {hp.name for hp in cls(build, "val_loss", directory=tmp_path).oracle.get_space().space}
    assert {"kind", "layers", "units_0", "units_1"} <= found
    assert len(calls) > 1


def test_what_declares_only_in_its_promise_is_taken_at_its_word(tmp_path):
    class Promising(keras_tuner.HyperModel):
        declares_whole_space = True
        builds = 0

        def declare_hyperparameters(self, hp):
            hp.Float("declared", 0.0, 1.0)

        def build(self, hp):
            self.builds += 1
            kind = hp.Choice("kind", ["a", "b"])
            with hp.conditional_scope("kind", ["b"]):
                if kind == "b":
                    hp.Float("broken_promise", 0.0, 1.0)
            return model()

    promising = Promising()
    tuner = tuners.VectorizedRandomSearch(promising, "val_loss", directory=tmp_path)
    assert promising.builds == 1
    assert [config["name"] for config in space(tuner)] == ["declared", "kind"]
