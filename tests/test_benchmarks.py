"""The models of the benchmark of people's models are what the benchmark says that they are."""

import importlib.util
import pathlib

import keras
import keras_tuner
import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def people():
    pytest.importorskip("sklearn")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        spec = importlib.util.spec_from_file_location(
            "people_models", BENCHMARKS / "people_models.py"
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def everything_of(model):
    """The layers of a model, and what it was compiled with."""
    yield from model.layers
    yield model.optimizer
    yield model.loss


def test_its_models_have_nothing_but_what_keras_has(people):
    for name, kind in people.KINDS.items():
        model = kind.build(keras_tuner.HyperParameters())
        classes = {type(one) for one in everything_of(model)}
        assert {cls.__module__.partition(".")[0] for cls in classes} <= {"keras", "builtins"}, name


@pytest.mark.long
def test_each_kind_learns_from_its_data(people):
    for name, kind in people.KINDS.items():
        model, data = kind.build(keras_tuner.HyperParameters()), kind.data()
        validation = data.pop("validation_data")
        history = model.fit(**data, epochs=1, steps_per_epoch=2, verbose=0).history
        assert history["loss"][0] == pytest.approx(2.3, abs=1.5), name
        if isinstance(validation, tuple):
            assert {len(array) for array in keras.tree.flatten(validation)} == {360}, name
