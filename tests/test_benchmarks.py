"""What benchmarks say of themselves: their models, and the parts of a search that they time."""

import importlib.util
import itertools
import pathlib
import threading

import keras
import keras_tuner
import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


def module_of(name):
    """A module of the benchmarks, while a fixture needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def people():
    pytest.importorskip("sklearn")
    yield from module_of("people_models")


@pytest.fixture(scope="module")
def parts():
    yield from module_of("_parts")


@pytest.fixture(scope="module")
def searches():
    pytest.importorskip("sklearn")
    yield from module_of("search")


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


def test_a_part_has_the_time_of_its_own_and_all_parts_add_up(parts, monkeypatch):
    clock = itertools.count().__next__  # Each look at it takes a second.
    timed = parts.Parts(clock)
    monkeypatch.setattr(parts, "PARTS", {})
    with timed.timed(), timed.part("build"):
        with timed.part("trace"):
            pass
        other = threading.Thread(target=lambda: timed.part("files").__enter__())
        other.start()
        other.join()
    assert {name: of for name, of in timed.seconds.items() if of} == {
        "rest": 2,
        "build": 2,
        "trace": 1,
    }


def test_a_validation_is_no_training(parts, monkeypatch):
    timed = parts.Parts(itertools.count().__next__)
    monkeypatch.setattr(parts, "PARTS", {})
    with timed.timed(), timed.part("validate"), timed.part("train"):
        pass
    assert timed.seconds["train"] == 0
    assert timed.seconds["validate"] == 3


def test_a_search_tells_what_each_part_of_it_takes(searches, parts, monkeypatch):
    monkeypatch.setattr(searches, "EPOCHS", 1)
    owners = [parts._owner_of(path) for paths in parts.PARTS.values() for path in paths]
    before = [getattr(*owner) for owner in owners]
    found = searches.run("kerasreg 2", "mlp", 1, 3)
    took = found["parts"]
    if keras.backend.backend() == "tensorflow":
        assert {name for name, of in took.items() if not of} <= {"derive", "compile"}
    # Also of what is run before and after the search, a little is timed.
    assert 0.5 * 1e3 / found["rate"] < sum(took.values()) <= 1e3 / found["rate"]
    assert [getattr(*owner) for owner in owners] == before
    assert found["to_floor"] == pytest.approx(1e3 / found["rate"] / found["floor"])


def test_the_floor_is_that_of_the_weights_that_the_model_has(searches):
    for kind, count in searches.WEIGHTS.items():
        assert searches.model(kind, 0.0, 0.0, 0.0, 0.1).count_params() == count, kind
