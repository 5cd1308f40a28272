"""The trials of a report as TensorBoard's HParams dashboard and as Optuna read them."""

import pathlib
import sys
import types

import numpy as np
import optuna
import pytest
from helpers.search_states import HOSTILE, entry, parts, state, states
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)

from kerasreg.reports import search_report

EVENTS = "events.out.tfevents.0000000000.kerasreg"


def made(count=20, failed=2, **arguments):
    found = states(count, failed=failed, **arguments)
    given = parts(found)
    for one in given["trained"].values():
        one |= {"stopped": None, "began": None, "ended": None}
    given["trained"]["00001"] |= {"began": 1e9, "ended": 1e9 + 60.0, "stopped": "pruner"}
    given["trained"]["00002"] |= {"stopped": "time limit"}
    return search_report(found, objective="val_loss", direction="min", weigh=False, **given)


@pytest.fixture(scope="module")
def report():
    return made()


def shown(folder):
    """What TensorBoard's own reader of the HParams plugin says of a folder."""
    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, str(folder))
    board = base_plugin.TBContext(data_provider=provider, logdir=str(folder))
    asked, backend = context.RequestContext(), backend_context.Context(board)
    experiment = get_experiment.Handler(asked, backend, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=10_000, allowed_statuses=[0, 1, 2, 3]
    )
    for metric in experiment.metric_infos:
        request.col_params.add().metric.CopyFrom(metric.name)
    groups = list_session_groups.Handler(asked, backend, "", request).run().session_groups
    scalars = {
        run: {tag: runs.Scalars(run, tag) for tag in tags["scalars"]}
        if "scalars" in tags
        else provider.read_scalars(
            asked, experiment_id="", plugin_name="scalars", downsample=1000
        ).get(run, {})
        for run, tags in runs.Runs().items()
    }
    return types.SimpleNamespace(
        hparams={one.name: one for one in experiment.hparam_infos},
        metrics=[one.name.tag for one in experiment.metric_infos],
        groups={group.name: group for group in groups},
        scalars=scalars,
    )


@pytest.fixture(scope="module")
def board(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    report.to_tensorboard(folder)
    return shown(folder)


def value_of(value):
    return getattr(value, value.WhichOneof("kind"))


def test_the_dashboard_has_each_trial_with_its_values_and_its_score(report, board):
    assert len(board.groups) == len(report.trials) == 22
    assert board.metrics == ["val_loss"]
    for row in report.trials:
        group = board.groups[row["trial"]]
        assert {name: value_of(of) for name, of in group.hparams.items()} == row["values"]
        told = {one.name.tag: one for one in group.metric_values}
        if row["score"] is None:
            assert told == {}
        else:
            assert told["val_loss"].value == pytest.approx(row["score"], rel=1e-6)
            assert told["val_loss"].training_step == row["best_epoch"]


def test_the_dashboard_has_what_became_of_each_trial_and_when(report, board):
    status = {"COMPLETED": api_pb2.STATUS_SUCCESS, "FAILED": api_pb2.STATUS_FAILURE}
    for row in report.trials:
        (session,) = board.groups[row["trial"]].sessions
        assert session.status == status[row["status"]]
    (session,) = board.groups["00001"].sessions
    assert (session.start_time_secs, session.end_time_secs) == (1e9, 1e9 + 60.0)


def test_the_dashboard_has_the_ranges_and_the_choices(board):
    rate, kind = board.hparams["rate"], board.hparams["activation"]
    assert rate.type == api_pb2.DATA_TYPE_FLOAT64
    assert (rate.domain_interval.min_value, rate.domain_interval.max_value) == (1e-4, 1e-1)
    assert {one.string_value for one in kind.domain_discrete.values} == {"relu", "gelu", "mish"}
    assert board.hparams["heads"].type == api_pb2.DATA_TYPE_BOOL


def test_scalars_have_the_learning_curves(report, board):
    for one in report.curves["trials"]:
        of_run = board.scalars[f"trial-{one['trial']}"]
        for tag, part in (("epoch_val_loss", "validation"), ("epoch_loss", "training")):
            assert [point.step for point in of_run[tag]] == one["epochs"]
            assert [point.value for point in of_run[tag]] == pytest.approx(one[part], rel=1e-6)


def test_a_second_call_takes_the_place_of_the_first(report, board, tmp_path):
    report.to_tensorboard(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    report.to_tensorboard(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
    assert {name: len(of.sessions) for name, of in shown(tmp_path).groups.items()} == dict.fromkeys(
        board.groups, 1
    )


def test_names_of_trials_reach_no_other_folder(tmp_path):
    names = ["../out", "/etc", "..", "a/b", "", "x" * 300, "con\0trol"]
    found = [state(name, {"rate": 0.1}, [1.0], []) for name in names]
    search_report(found, objective="val_loss", direction="min").to_tensorboard(tmp_path / "in")
    assert [one.name for one in tmp_path.iterdir()] == ["in"]
    files = [
        one.relative_to(tmp_path / "in") for one in (tmp_path / "in").rglob("*") if one.is_file()
    ]
    expected = {pathlib.Path(EVENTS)} | {
        pathlib.Path(f"trial-number-{place}", EVENTS) for place in range(len(names))
    }
    assert set(files) == expected


def test_hostile_names_are_names(tmp_path):
    report = made(names=HOSTILE, choices=HOSTILE[:3])
    report.to_tensorboard(tmp_path)
    found = shown(tmp_path)
    assert set(found.hparams) == set(HOSTILE)
    params = {name for trial in report.to_study().trials for name in trial.params}
    assert params == set(HOSTILE)


def test_values_of_several_types_are_text(tmp_path):
    space = [entry("Choice", "size", values=[1, "wide", True])]
    found = [state(str(k), {"size": v}, [1.0], space) for k, v in enumerate([1, "wide", True])]
    report = search_report(found, objective="val_loss", direction="min")
    report.to_tensorboard(tmp_path)
    told = shown(tmp_path)
    assert told.hparams["size"].type == api_pb2.DATA_TYPE_STRING
    assert [told.groups[str(k)].hparams["size"].string_value for k in range(3)] == [
        "1", "wide", "True",
    ]  # fmt: skip
    study = report.to_study()
    assert [trial.params["size"] for trial in study.trials] == [1, "wide", True]


# --- Optuna ----------------------------------------------------------------------------


def test_the_study_has_the_trials(report):
    study = report.to_study()
    assert study.study_name == "search"
    assert study.direction.name == "MINIMIZE"
    assert [trial.user_attrs["trial_id"] for trial in study.trials] == [
        row["trial"] for row in report.trials
    ]
    curves = {one["trial"]: one for one in report.curves["trials"]}
    for trial, row in zip(study.trials, report.trials, strict=True):
        assert trial.params == row["values"]
        assert trial.value == row["score"]
        curve = curves.get(row["trial"], {"epochs": [], "validation": []})
        assert trial.intermediate_values == dict(
            zip(curve["epochs"], curve["validation"], strict=True)
        )
    states_of = {trial.user_attrs["trial_id"]: trial.state.name for trial in study.trials}
    assert states_of["00001"] == "PRUNED"
    assert states_of["00002"] == "COMPLETE"
    assert states_of["00020"] == states_of["00021"] == "FAIL"
    best = next(one for one in report.ranking if states_of[one] == "COMPLETE")
    assert study.best_trial.user_attrs["trial_id"] == best
    (trial,) = [one for one in study.trials if one.user_attrs["trial_id"] == "00001"]
    assert trial.duration.total_seconds() == 60.0


def test_the_study_has_what_values_were_drawn_from(report):
    found = next(
        trial.distributions for trial in report.to_study().trials if len(trial.params) == 5
    )
    distributions = optuna.distributions
    assert found == {
        "rate": distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "units": distributions.IntDistribution(8, 256),
        "dropout": distributions.FloatDistribution(0.0, 0.6),
        "activation": distributions.CategoricalDistribution(("relu", "gelu", "mish")),
        "heads": distributions.CategoricalDistribution((False, True)),
    }


def test_values_that_no_space_has_are_in_the_distribution():
    space = [entry("Float", "rate", min_value=0.1, max_value=0.2, sampling="linear")]
    space += [entry("Int", "units", min_value=8, max_value=64, step=8, sampling="linear")]
    values = [{"rate": 0.5, "units": 16}, {"rate": 0.15, "units": 80}]
    found = [state(str(k), of, [1.0], space) for k, of in enumerate(values)]
    study = search_report(found, objective="val_loss", direction="max").to_study()
    assert study.direction.name == "MAXIMIZE"
    assert [trial.params for trial in study.trials] == values
    of_units = study.trials[0].distributions["units"]
    assert (of_units.low, of_units.high, of_units.step) == (8, 80, 8)
    assert study.trials[0].distributions["rate"].high == 0.5


def test_a_study_that_is_there_gets_the_trials_that_it_lacks(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    made(10, failed=0).to_study(storage, "fruit")
    made(12, failed=0).to_study(storage, "fruit")
    study = optuna.load_study(study_name="fruit", storage=storage)
    assert [trial.user_attrs["trial_id"] for trial in study.trials] == [
        f"{number:05d}" for number in range(12)
    ]


def test_trials_without_an_end_are_left_out():
    found = [*states(3), state("last", {}, [], [], status="RUNNING")]
    report = search_report(found, objective="val_loss", direction="min")
    assert len(report.to_study().trials) == 3


def test_optunas_own_functions_take_the_study(report):
    importance = optuna.importance.get_param_importances(
        report.to_study(), evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    assert set(importance) <= {"rate", "units", "dropout", "activation"}


def test_without_optuna_it_says_what_to_install(report, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasreg\[optuna\]'"):
        report.to_study()


def test_numbers_that_are_not_finite_are_left_out(tmp_path):
    found = [state("0", {"rate": float("inf")}, [float("nan")], []), state("1", {}, [1.0], [])]
    report = search_report(found, objective="val_loss", direction="min")
    report.to_tensorboard(tmp_path)
    assert not shown(tmp_path).groups["0"].metric_values
    assert [trial.state.name for trial in report.to_study().trials] == ["FAIL", "COMPLETE"]
    assert np.isfinite(report.to_study().best_value)
