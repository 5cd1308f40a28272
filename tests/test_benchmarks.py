"""What benchmarks say of themselves: their models, and the parts of a search that they time."""

import importlib.util
import itertools
import pathlib
import threading
import types

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
def tables():
    yield from module_of("tables")


@pytest.fixture(scope="module")
def study():
    pytest.importorskip("optuna")
    yield from module_of("study")


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


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # A trial takes a second, the second one begins at 4. One there is always.
        (8, 3),
        (7, 2),
        (5, 2),
        (4, 1),
        (0.5, 1),
    ],
)
def test_a_search_on_tables_begins_no_trial_that_would_not_end_in_time(
    tables, monkeypatch, seconds, expected
):
    now = itertools.count()
    monkeypatch.setattr(tables.time, "perf_counter", lambda: float(next(now)))
    oracle = types.SimpleNamespace(max_trials=100, trials=0)

    def create_trial(tuner_id):
        if oracle.trials >= oracle.max_trials:
            return types.SimpleNamespace(trial_id="", status="STOPPED")
        oracle.trials += 1
        return types.SimpleNamespace(trial_id=str(oracle.trials), status="RUNNING")

    oracle.create_trial, oracle.end_trial = create_trial, lambda trial: None
    budget = tables.Budget(types.SimpleNamespace(oracle=oracle), seconds)
    while (trial := oracle.create_trial("tuner")).status == "RUNNING":
        oracle.end_trial(trial)
    assert len(budget.in_time) == expected


def test_what_is_done_of_tables_is_kept_and_not_mixed(tables, tmp_path):
    path = tmp_path / "folder" / "done.json"
    done = tables.Done(path, {"trials": 3})
    done.add("cells", 1, {"linear": {"error": 0.5}})
    done.add("cells", 1, {"MLP": {"error": 0.25}})
    again = tables.Done(path, {"trials": 3})
    assert again.of("cells", 1, "linear") == {"error": 0.5}
    assert again.of("cells", 1, "MLP") == {"error": 0.25}
    assert again.of("cells", 2, "MLP") is None
    with pytest.raises(SystemExit, match="results of other settings"):
        tables.Done(path, {"trials": 4})


def test_tables_are_compared_by_their_errors(tables, tmp_path, capsys):
    done = tables.Done(tmp_path / "done.json", {})
    for seed, more in ((1, 0.0), (2, 0.1)):
        for name, of_linear in (("cells", 0.44), ("ames", 0.1)):
            of = {"score": 0.9, "seconds": 1.0}
            done.add(name, seed, {"linear": {"error": of_linear + more, **of}})
            done.add(name, seed, {"kerasreg ensemble": {"error": 0.2 + more, **of}})
    tables.show(done, ["cells", "ames"], 2)
    shown = capsys.readouterr().out.splitlines()
    assert "linear                     0.4900 ± 0.0500   0.9000 ± 0.0000" in "\n".join(shown)
    # 0.49 and 0.15 beside 0.25: √(1.96 · 0.6) is 1.084.
    assert shown[-1].split() == ["linear", "2", "1", "1", "8.4%"]


def test_the_oracles_that_are_timed_run_all_trials(study, tmp_path):
    for name, contender in study.contenders().items():
        if "SQLite" not in name:
            (tmp_path / name).mkdir()
            assert contender(name, 3, 2, 2, str(tmp_path / name)) > 0.0, name
