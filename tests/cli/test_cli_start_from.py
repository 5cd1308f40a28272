"""`kerasreg search --start_from`: the settings of an earlier search come first."""

import json
import shutil

import numpy as np
import pandas
import pytest
from helpers.commands import SearchFolder, check_refused, command_inside

from kerasreg import serving
from kerasreg.cli import _earlier, _task
from kerasreg.cli._data import load_table
from kerasreg.cli._record import SearchSettings

SHORT = ("--data=wine", "--epochs=1", "--folds=2", "--seed=4")
# By trial: its score, and one of its values.
TRIALS = {"00": (0.5, 0.01), "01": (0.2, 0.002), "02": (None, 0.003), "03": (0.3, 0.004)}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return str(path)


@pytest.fixture
def old(tmp_path):
    """What a search leaves, as far as it matters here."""
    folder = tmp_path / "old"
    write(folder / "job.json", {})
    for trial_id, (score, rate) in TRIALS.items():
        values = {"learning_rate": rate, "activation": "mish", "tuner/epochs": 3}
        state = {"trial_id": trial_id, "score": score, "hyperparameters": {"values": values}}
        write(folder / "search" / f"trial_{trial_id}" / "trial.json", state)
    return folder


def rates(settings):
    return [one["learning_rate"] for one in settings]


def test_the_members_of_the_ensemble_are_before_the_best_trials(old):
    found = _earlier.earlier_settings(str(old), None)
    assert rates(found) == [0.002, 0.004, 0.01]
    # Hyperband's own are of the search, and not of the model.
    assert found[0] == {"learning_rate": 0.002, "activation": "mish"}
    rows = [{"trial_id": "00", "share": 0.6}, {"trial_id": "03", "share": 0.4}]
    write(old / "report.json", {"ensemble": {"rows": rows}})
    assert rates(_earlier.earlier_settings(str(old), None)) == [0.01, 0.004, 0.002]


@pytest.mark.parametrize(("trials", "count"), [(1, 1), (4, 2), (5, 2), (64, 16), (None, 16)])
def test_they_are_half_of_the_trials_and_never_many(old, trials, count):
    for number in range(30):
        values = {"learning_rate": 0.001 * (number + 20)}
        state = {"trial_id": str(number), "score": 1.0, "hyperparameters": {"values": values}}
        write(old / "search" / f"trial_{number}" / "trial.json", state)
    assert len(_earlier.earlier_settings(str(old), trials)) == count


def test_the_card_of_a_model_has_a_setting(tmp_path):
    card = {"model": "net", "hyperparameters": {"learning_rate": 0.02}}
    newest = tmp_path / "model" / "12"
    serving_card = newest / "assets.extra" / "model_card.json"
    write(serving_card, card)
    (newest / "saved_model.pb").write_bytes(b"")
    (tmp_path / "model" / "2").mkdir()
    (tmp_path / "model" / "2" / "saved_model.pb").write_bytes(b"")
    assert serving.list_versions(tmp_path / "model") == [2, 12]
    for path in (tmp_path / "model", newest, serving_card):
        assert _earlier.earlier_settings(str(path), 16) == [{"learning_rate": 0.02}]


def table_job(tmp_path, earlier, **settings):
    given = SearchSettings(data="wine", start_from="old", **settings)
    return _task.SearchTask(given, load_table("wine"), str(tmp_path / "out"), print, earlier)


def test_what_the_space_does_not_have_is_said_and_left_out(tmp_path):
    earlier = [
        {"learning_rate": 5.0, "momentum": 0.9, "l1": 1e-4},
        {"nesterov": True, "activation": "relu", "weight_decay": 0.1},
    ]
    job = table_job(tmp_path, earlier)
    assert job.initial == [{"learning_rate": 2e-2, "l1": 1e-4}, {"weight_decay": 0.1}]
    assert job.adaptation == (
        "'momentum', 'nesterov' not searched here, and left out; 'activation' left out for their "
        "values; 'learning_rate' moved into the ranges of today"
    )


REFUSED = {
    "nothing": (lambda path: None, ("start_from", "There is no", "old")),
    "a text": (lambda path: write(path / "old", "x"), ("cannot be read", "old", "str")),
    "no JSON": (lambda path: (path / "old").write_text("{"), ("cannot be read", "old")),
    "a card without": (lambda path: write(path / "old", {"model": "net"}), ("has none", "old")),
    "a folder without": (lambda path: (path / "old").mkdir(), ("old", "card")),
    "no trial": (
        lambda path: write(path / "old" / "job.json", {}),
        ("trials that are done", "old"),
    ),
    "other names": (
        lambda path: write(path / "old", {"hyperparameters": {"width_of_net": 3}}),
        ("hyperparameters of this search", "'width_of_net'"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_settings_is_refused_in_one_line(case, tmp_path):
    make, words = REFUSED[case]
    make(tmp_path)
    arguments = ("search", *SHORT, "--start_from=old", "--output_dir=out")
    check_refused(command_inside(*arguments, cwd=tmp_path), *words)
    assert not (tmp_path / "out").exists()


def test_a_grid_has_its_own_order(old, tmp_path):
    arguments = ("search", *SHORT, "--start_from=old", "--tuner=grid")
    check_refused(command_inside(*arguments, cwd=tmp_path), "start_from", "grid")


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_each_kind_of_search_begins_with_them(tuner, tmp_path):
    job = table_job(tmp_path, [{"learning_rate": 0.004, "l2": 1e-5}, {"dropout": 0.5}], tuner=tuner)
    oracle = job.tuner(job.hypermodel(True), None).oracle
    values = [oracle.create_trial(f"tuner-{k}").hyperparameters.values for k in range(3)]
    assert (values[0]["learning_rate"], values[0]["l2"], values[0]["dropout"]) == (
        0.004,
        1e-5,
        0.15,
    )
    assert (values[1]["dropout"], values[1]["l2"]) == (0.5, 0.0)
    assert values[2]["dropout"] not in (0.15, 0.5)


@pytest.mark.long
def test_a_search_begins_with_them_and_goes_on_without_the_folder(old, tmp_path):
    first = command_inside(
        "search", *SHORT, "--trials=4", "--time=1s", "--start-from=old", "--output-dir=out",
        cwd=tmp_path,
    )  # fmt: skip
    assert (first.code, first.err) == (0, "")
    assert f"begins with 2 settings of {old}\n" in first.out
    shutil.rmtree(old)
    done = command_inside("search", "--resume", "--time=1h", "--output_dir=out", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    trials = SearchFolder(tmp_path / "out").trials
    found = [trial["hyperparameters"]["values"]["learning_rate"] for trial in trials]
    assert len(found) == 4
    assert found[:2] == [0.002, 0.004]
    assert len(set(found)) == 4
    # What they leave out has its default.
    assert {trial["hyperparameters"]["values"]["beta_2"] for trial in trials[:2]} == {0.95}


@pytest.mark.long
@pytest.mark.parametrize("path", ["out", "out/model"])
def test_a_search_in_order_of_time_begins_with_what_another_one_found(path, tmp_path):
    generator = np.random.default_rng(4)
    day, x = generator.permutation(100), generator.normal(size=100)
    frame = pandas.DataFrame({"day": day, "x": x, "town": np.where(x > 0, "Ulm", "Bonn")})
    frame.assign(y=2.0 * x + 0.01 * day).to_csv(tmp_path / "t.csv", index=False)
    search = ("search", "--data=t.csv", "--target=y", "--order=day", "--folds=3", "--epochs=2")
    first = command_inside(*search, "--trials=1", "--seed=3", "--output_dir=out", cwd=tmp_path)
    assert (first.code, first.err) == (0, "")
    assert "80 to search with in 3 folds in the order of 'day', 20 to test" in first.out
    found = SearchFolder(tmp_path / "out")
    with open(tmp_path / "out" / "results.csv") as file:
        assert "fold_2," in file.readline()
    more = ("--trials=2", "--seed=9", f"--start_from={path}", "--output_dir=again")
    second = command_inside(*search, *more, cwd=tmp_path)
    assert (second.code, second.err) == (0, "")
    trials = SearchFolder(tmp_path / "again").trials
    expected = found.report["best_hyperparameters"]
    assert trials[0]["hyperparameters"]["values"] == expected
    assert trials[1]["hyperparameters"]["values"] != expected
