"""What benchmarks say of themselves: their models, and the parts of a search that they time."""

import inspect
import itertools
import json
import threading
import types

import keras
import keras_tuner
import numpy
import pytest
from helpers.scripts import module_of


@pytest.fixture(scope="module")
def people():
    pytest.importorskip("sklearn")
    yield from module_of("benchmarks/people_models.py")


@pytest.fixture(scope="module")
def portfolios():
    yield from module_of("benchmarks/portfolio.py")


@pytest.fixture(scope="module")
def parts():
    yield from module_of("benchmarks/_parts.py")


@pytest.fixture(scope="module")
def tables():
    yield from module_of("benchmarks/tables.py")


@pytest.fixture(scope="module")
def equal_time():
    yield from module_of("benchmarks/equal_time.py")


@pytest.fixture(scope="module")
def serving():
    yield from module_of("benchmarks/serving.py")


@pytest.fixture(scope="module")
def numbers():
    yield from module_of("benchmarks/_results.py")


@pytest.fixture(scope="module")
def study():
    pytest.importorskip("optuna")
    yield from module_of("benchmarks/study.py")


@pytest.fixture(scope="module")
def searches():
    pytest.importorskip("sklearn")
    yield from module_of("benchmarks/search.py")


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


def test_tables_are_compared_by_their_errors(tables, numbers, tmp_path, capsys):
    done = tables.Done(tmp_path / "done.json", {})
    of = {"score": 0.9, "seconds": 1.0}
    for seed, more in ((1, 0.0), (2, 0.1)):
        for name, of_linear in (("cells", 0.44), ("ames", 0.1)):
            done.add(name, seed, {"linear": {"error": of_linear + more, **of}})
            done.add(name, seed, {"kerasreg ensemble": {"error": 0.2 + more, **of}})
    # Of this seed the ensemble is not done: it is not compared.
    done.add("ames", 3, {"linear": {"error": 9.9, **of}})
    results = numbers.Results()
    tables.show(done, ["cells", "ames"], 2, results)
    shown = capsys.readouterr().out.splitlines()
    assert "linear                     0.4900 ± 0.0500   0.9000 ± 0.0000" in "\n".join(shown)
    # 0.49 and 0.15 beside 0.25: √(1.96 · 0.6) is 1.084.
    assert shown[-1].split() == ["linear", "2", "1", "1", "8.4%"]
    assert results.results["wins.linear"] | {"what": ""} == {
        "value": 1.0,
        "what": "",
        "of": 2,
        "headline": True,
    }
    found = results.results["error_to_ensemble.linear"]
    assert found["value"] == pytest.approx(1.084, abs=1e-3)
    assert found["low"] < found["value"] < found["high"]
    assert results.results["error.cells.linear"]["low"] == pytest.approx(0.44)
    assert results.covers == "cells (seeds 1, 2); ames (seeds 1, 2)"
    others = numbers.Results()
    tables.show(done, ["cells", "ames"], 3, others)
    assert others.results["error_to_ensemble.linear"]["value"] == found["value"]
    assert others.covers == "cells (seeds 1, 2); ames (seeds 1, 2, 3)"


def test_searches_of_people_are_told_beside_keras_tuner(people, numbers, capsys):
    repeat = {"lanes": 1.0, "ours_seconds": 0.1, "theirs_seconds": 5.0, "ours_best": 0.9}
    repeat |= {"theirs_best": 0.9, "ours_same": None, "theirs_same": None}
    repeats = [repeat | {"ratio": ratio} for ratio in (40.0, 50.0, 70.0)]
    measured = [{"kind": "dense", "trials": 64, "target": 50, "repeats": repeats}]
    results = numbers.Results()
    people.print_table(measured, results)
    assert "50.0 (40.0..70.0)" in capsys.readouterr().out
    found = results.results["dense.64_trials.to_kerastuner"]
    assert (found["value"], found["low"], found["high"]) == (50.0, 40.0, 70.0)
    assert found["headline"]
    assert results.results["dense.64_trials.lanes"]["value"] == 1.0


def test_searches_are_told_in_ratio_to_the_first(searches, numbers, monkeypatch, capsys):
    def measured(script, one, name, *given):
        seed = given[-1]
        rate = {"KerasTuner": 1.0, "kerasreg 128": 40.0 + seed}[name] * seed
        return {"rate": rate, "first": 1.0, "memory": 9.0, "best": 0.9, "floor": 1, "to_floor": 2.0}

    monkeypatch.setattr(searches, "in_process", measured)
    results = numbers.Results()
    searches.compare("mlp", 3, ["KerasTuner", "kerasreg 128"], results)
    assert "42.0 (41.0..43.0)" in capsys.readouterr().out
    found = results.results["mlp.kerasreg_128.to_kerastuner"]
    assert (found["value"], found["low"], found["high"]) == (42.0, 41.0, 43.0)
    assert results.results["mlp.kerastuner.rate"]["value"] == 2.0


def test_searches_of_equal_time_are_told_with_their_error(equal_time, numbers, monkeypatch, capsys):
    def measured(script, one, contender, *given):
        seed = given[3]
        return {"score": 0.9 + 0.01 * seed * (contender == "kerasreg"), "trials": 10 * seed}

    monkeypatch.setattr(equal_time, "in_process", measured)
    results = numbers.Results()
    equal_time.compare("wine", 3, 60.0, ["kerasreg", "RandomSearch"], results)
    assert "0.0200 ± 0.0058" in capsys.readouterr().out
    found = results.results["wine.randomsearch.worse_by"]
    assert found["value"] == pytest.approx(0.02)
    assert found["high"] - found["low"] == pytest.approx(2 * 0.0058, abs=1e-4)
    assert results.results["wine.kerasreg.trials"]["value"] == 20
    assert "wine.kerasreg.worse_by" not in results.results


def test_servers_are_told_in_ratio_to_kserve(serving, numbers, monkeypatch, capsys):
    milliseconds = {"kerasreg": 1.0, "KServe": 2.0, "floor": 0.5}
    servers = [
        types.SimpleNamespace(name=name, seconds=[0.0, 1, 2, 3], memory=[9.0, 9, 9, 9], errors=0)
        for name in milliseconds
    ]
    monkeypatch.setattr(
        serving, "load", lambda server, *_: numpy.full(10, 1e-3 * milliseconds[server.name])
    )
    results = numbers.Results()
    given = types.SimpleNamespace(seconds=60.0, slices=4, rows=1)
    serving.measure(servers, [], [], given, results)
    assert "p50 of kerasreg in ratio to KServe's: 0.50" in capsys.readouterr().out
    for name in ("connections_4.p50_to_kserve", "connections_1.p99_to_kserve"):
        assert results.results[name]["value"] == pytest.approx(0.5)
    assert results.results["memory_growth.kerasreg"]["value"] == pytest.approx(0)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("components", "variants"),
        ("dropout", "variants"),
        ("schedules", "contenders"),
        ("step_time", "contenders"),
    ],
)
def test_all_that_a_benchmark_compares_can_be_made(name, table):
    """A class or an argument that has another name now is seen before somebody measures."""
    for module in module_of(f"benchmarks/{name}.py"):
        compared = getattr(module, table)()
        assert len(compared) > 3
        for parts in compared.values():
            for part in parts if isinstance(parts, tuple) else [parts]:
                if inspect.isfunction(part):
                    part()


def test_a_study_that_is_timed_tells_what_it_carries(study, tmp_path):
    for name in ("a.db", "a.log"):
        size, transactions = study.carried(str(tmp_path / name), 40, 2)
        assert size > 100
        # Of a trial in a database: it begins, and it ends.
        assert (transactions >= 2) == name.endswith(".db")
    of_fifths = study.grown(10)
    assert len(of_fifths) == 5
    assert min(of_fifths) > 0


def test_the_smallest_model_that_is_accurate_enough():
    for two in module_of("benchmarks/two_objectives.py"):
        front = [
            {"validation": accuracy, "bytes": size} for accuracy, size in ((0.9, 10), (0.8, 5))
        ]
        found = [two.smallest(front, accuracy) for accuracy in (0.7, 0.8, 0.85, 0.9, 0.95)]
        assert [of and of["bytes"] for of in found] == [5, 5, 10, 10, None]


def test_the_oracles_that_are_timed_run_all_trials(study, tmp_path):
    for name, contender in study.contenders().items():
        if "SQLite" not in name:
            (tmp_path / name).mkdir()
            assert contender(name, 3, 2, 2, str(tmp_path / name)) > 0.0, name


def pool(portfolios, predictions, targets, is_class=False):
    return portfolios.Pool(
        {
            "settings": numpy.array([json.dumps({"rate": k}) for k in range(len(predictions))]),
            "predictions": numpy.asarray(predictions, "float32"),
            "targets": numpy.asarray(targets),
            "is_class": numpy.array(is_class),
        }
    )


def test_settings_that_complete_each_other_are_chosen(portfolios):
    targets = numpy.zeros((40, 1))
    errors = numpy.tile([1.0, -1.0], 20)[:, None]
    # Two are alike; the third makes their mean right, and is worse than both alone.
    of_table = pool(portfolios, [errors, 1.001 * errors, -1.4 * errors], targets)
    assert portfolios.portfolio([of_table], 2) == [0, 2]
    assert of_table.cost([0, 2]) < of_table.cost([0, 1])
    assert portfolios.portfolio([of_table], 9) == [0, 2, 1]


def test_what_is_good_on_all_tables_is_before_what_is_best_on_one(portfolios):
    targets = numpy.zeros((30, 1))
    ones = numpy.ones((30, 1))
    first = pool(portfolios, [0.1 * ones, 0.2 * ones, 5.0 * ones], targets)
    second = pool(portfolios, [5.0 * ones, 0.2 * ones, 0.1 * ones], targets)
    assert portfolios.portfolio([first, second], 1) == [1]
    assert portfolios.portfolio([first], 1) == [0]


def test_errors_are_log_loss_and_root_of_the_mean_square(portfolios):
    shares = numpy.array([[[0.25, 0.75], [0.5, 0.5]]])
    found = portfolios.errors(shares, numpy.array([1, 0]), True)
    assert found == pytest.approx([-(numpy.log(0.75) + numpy.log(0.5)) / 2])
    assert portfolios.errors(
        numpy.array([[[3.0], [1.0]]]), numpy.zeros((2, 1)), False
    ) == pytest.approx([5**0.5])


def test_portfolios_are_told_in_ratio_to_random_settings(portfolios, numbers, capsys, monkeypatch):
    monkeypatch.setattr(portfolios, "SIZES", (1, 2))
    rng = numpy.random.default_rng(0)
    pools = {}
    for name in ("a", "b", "c"):
        # The first setting is good on each table.
        predictions = rng.normal(size=(6, 50, 1)) * numpy.array([0.1, 1, 1, 1, 1, 1])[:, None, None]
        pools[name] = pool(portfolios, predictions, numpy.zeros((50, 1)))
    results = numbers.Results()
    portfolios.show(pools, results)
    found = results.results["ensemble.1_settings.to_random"]
    assert found["low"] < found["value"] < found["high"] < 1.0
    assert set(results.results) == {
        f"{name}.{size}_settings.to_random"
        for name in ("ensemble", "best_setting")
        for size in (1, 2)
    }
    assert capsys.readouterr().out.splitlines()[-1].startswith("all")


@pytest.fixture(scope="module")
def shared():
    yield from module_of("benchmarks/workers.py")


def test_the_rate_of_workers_is_the_sum_of_theirs(shared):
    assert shared.rate_of([[12.0, 15.0, 20.0]], 10.0) == pytest.approx(0.3)
    assert shared.rate_of([[12.0, 15.0, 20.0], [14.0, 14.0]], 10.0) == pytest.approx(0.8)
