"""What a search tells of how its trials were trained."""

import gc
import json
import time
import types
import warnings
import weakref

import keras
import numpy as np
import pytest

from kerasreg import tuners
from kerasreg.tuners._lane_report import EpochClock, LaneRecord, Training, report_of

X = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")


class OwnFunction(keras.Sequential):
    def make_train_function(self, force=False):
        return super().make_train_function(force)


def model_of(units, kind=keras.Sequential, activation="tanh", learning_rate=0.1, slope=None):
    layers = [keras.layers.Dense(units, activation, name="hidden")]
    layers += [] if slope is None else [Scaled(slope, name="scaled")]
    model = kind([keras.Input((3,)), *layers, keras.layers.Dense(1, name="end")])
    model.compile(keras.optimizers.SGD(learning_rate), "mse", jit_compile=False)
    return model


class Scaled(keras.layers.Layer):
    """A layer of a user's, with a Python number that may not differ between lanes."""

    lane_numbers = ()

    def __init__(self, slope, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x):
        return x * self.slope


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A grid of three widths, one of which is trained by a function of its own."""
    made = []

    def build(hp):
        units = hp.Choice("units", [2, 3, 4])
        rate = hp.Choice("learning_rate", [0.1, 0.05, 0.01])
        model = model_of(units, OwnFunction if units == 4 else keras.Sequential, learning_rate=rate)
        made.append(weakref.ref(model))
        return model

    tuner = tuners.VectorizedGridSearch(
        build, "val_loss", max_trials=8, directory=tmp_path_factory.mktemp("mixed")
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tuner.search(X, Y, epochs=2, validation_data=(X, Y), verbose=0)
    return types.SimpleNamespace(
        tuner=tuner,
        told=[one for one in caught if one.category is UserWarning],
        made=made,
    )


def test_each_trial_is_in_the_report_once(mixed):
    report = mixed.tuner.lane_report()
    assert [row.trials for row in report] == [3, 3, 2]
    assert sorted(one.trial for one in report.trainings) == sorted(mixed.tuner.oracle.trials)
    units = {
        program: {
            mixed.tuner.oracle.trials[one.trial].hyperparameters.values["units"]
            for one in report.trainings
            if one.program == program
        }
        for program in (1, 2, None)
    }
    assert units == {1: {2}, 2: {3}, None: {4}}
    assert report.share == 6 / 8


def test_a_row_says_how_its_trials_were_trained_and_why_apart(mixed):
    largest, other, alone = mixed.tuner.lane_report()
    assert (largest.program, largest.at_once, largest.why) == (1, 3, "")
    assert (other.program, other.at_once) == (2, 3)
    assert "hidden.units" in other.why
    assert other.why.endswith(": 3 against 2")
    assert (alone.program, alone.at_once, alone.tracing) == (None, 1, None)
    assert "its class defines its own `make_train_function`" in alone.why
    for row in (largest, other):
        assert 0 <= row.tracing <= row.seconds
    assert alone.seconds > 0


def test_its_text_is_a_table_and_its_dictionary_plain(mixed):
    report = mixed.tuner.lane_report()
    lines = str(report).splitlines()
    assert lines[0].split()[:3] == ["program", "trials", "at"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "alone"]
    assert lines[4:] == ["6 of 8 trials shared a program with others"]
    plain = report.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {"rows", "trainings"}


def test_what_was_alone_is_told_when_it_begins_and_counted_at_the_end(mixed):
    first, last = mixed.told
    assert "is trained alone by Keras" in str(first.message)
    head, line = str(last.message).splitlines()
    assert head.startswith("Of 8 trials, 2 were trained alone by Keras and 6 were lanes of 2 pro")
    assert "`tuner.lane_report()`" in head
    assert line.startswith("- 2 trials trained alone: its class defines its own `make_train_f")
    assert [one.filename for one in mixed.told] == [__file__] * 2


def test_no_model_is_kept(mixed):
    mixed.tuner.lane_report()
    gc.collect()
    assert len(mixed.made) >= 6
    assert [one() for one in mixed.made if one() is not None] == []


def test_one_program_is_one_row_and_nothing_is_told(searched, build):
    report = searched.tuner.lane_report()
    assert [(row.program, row.trials, row.at_once) for row in report] == [(1, 6, 6)]
    assert report.share == 1.0
    again = tuners.VectorizedRandomSearch(
        build, "val_loss", max_trials=6, seed=5, directory=searched.folder, project_name="project"
    )
    assert len(again.oracle.trials) == 6  # Of another process, as it were.
    assert str(again.lane_report()) == "nothing was trained in this process"


def test_code_without_a_call_of_fit_is_told(tmp_path):
    class Parabola(tuners.VectorizedRandomSearch):
        def run_trial(self, trial):
            return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2

    tuner = Parabola(max_trials=3, directory=tmp_path, seed=1)
    with pytest.warns(
        UserWarning,
        match="3 were trained alone by their own code.*\n- 3 trials trained alone: its own",
    ):
        tuner.search()
    assert tuner.lane_report().share == 0.0
    tuner.oracle.max_trials = 5
    with pytest.warns(UserWarning, match="Of 2 trials"):
        tuner.search()
    assert [row.trials for row in tuner.lane_report()] == [3, 2]


def record_of(models, arguments=({},), drawn=None, trials=1):
    """The record of a search in which each model was a program with so many trials."""
    record = LaneRecord(drawn)
    for number, model in enumerate(models):
        given = arguments[number % len(arguments)]
        plan = types.SimpleNamespace(
            program_model=model,
            why_not_padded=None,
            key=(number,),
            common_arguments=lambda given=given: given,
        )
        record.see(plan)
        record.were_lanes(plan.key, [f"{number}-{trial}" for trial in range(trials)], 1)
    return record


def test_many_small_programs_are_told_by_what_they_differ_in():
    models = [model_of(units) for units in (2, 3, 4, 5, 6, 7)] + [model_of(2, activation="relu")]
    record = record_of(models, drawn=1)
    head, units, activation, change = record.close().splitlines()
    assert head.startswith("Of 7 trials, 7 were lanes of 7 programs:")
    assert units == (
        "- 5 programs differ from the largest one in `model.hidden.units` (2, 3, 4, 5, ...)."
    )
    assert activation == (
        "- 1 program differs from the largest one in `model.hidden.activation` (tanh, relu)."
    )
    assert change.startswith("- `trials_per_structure=16` draws")


def test_few_programs_and_those_that_were_asked_for_are_not_told():
    assert record_of([model_of(units) for units in (2, 3, 4)]).close() is None
    many = [model_of(units) for units in (2, 3, 4, 5)]
    assert record_of(many, drawn=1, trials=2).close() is not None
    assert record_of(many, drawn=2, trials=2).close() is None
    assert record_of(many, drawn=2).close() is not None  # They were drawn together in vain.


@pytest.mark.parametrize(
    ("models", "arguments", "why", "change"),
    [
        (
            (2, 2),
            ({"batch_size": 32}, {"batch_size": 64}),
            "`batch_size` of `model.fit`: 64 against 32",
            "trials_per",
        ),
        ((2, 2), ({},), "the data", "trials_per"),
        ((0.5, 0.25), ({},), "scaled.slope`: 0.25 against 0.5", "decides nothing by it"),
    ],
)
def test_what_programs_differ_in_is_named(models, arguments, why, change):
    made = [model_of(2, slope=each if isinstance(each, float) else None) for each in models]
    report = report_of([record_of(made, arguments, drawn=1)])
    assert [row.trials for row in report] == [1, 1]
    assert report.share == 0.0  # Each is the only one of its program.
    assert report[1].why.endswith(why)
    assert change in report[1].change
    assert str(report).endswith(report[1].change)


def test_programs_of_later_searches_are_numbered_on():
    records = [record_of([model_of(units) for units in of]) for of in ([2, 3], [4], [5])]
    report = report_of(records)
    assert [row.program for row in report] == [1, 2, 3, 4]
    assert {one.program for one in report.trainings} == {1, 2, 3, 4}


def test_what_a_long_error_says_is_cut():
    record = LaneRecord()
    with record.alone("0", lambda: Training("x" * 1000 + "\nmore")):
        pass
    assert len(record.rows()[0].why) < 400
    assert "more" not in record.rows()[0].why


def test_what_ran_for_one_lane_after_the_other_is_in_the_table():
    record, key = LaneRecord(), ("key",)
    plan = {"program_model": model_of(2), "why_not_padded": None, "key": key}
    record.see(types.SimpleNamespace(**plan, common_arguments=dict))
    record.were_lanes(key, ["0", "1"], 2)
    assert "lane after lane" not in str(report_of([record]))
    record.ran(key, EpochClock(), [("gru", "While")])
    assert report_of([record])[0].loops == ("gru: While",)
    lines = str(report_of([record])).splitlines()
    assert [lines[0].rsplit("  ", 1)[1], lines[1].rsplit("  ", 1)[1]] == [
        "lane after lane",
        "gru: While",
    ]


def test_the_clock_counts_no_time_of_the_search(monkeypatch):
    now = iter([0.0, 5.0, 6.0, 8.0, 18.0, 19.0, 29.0, 30.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    clock = EpochClock()
    for _ in range(3):  # 5 s, 2 s and 1 s, with 1 s, 10 s and 10 s of the search after them.
        with clock.paused():
            clock.lap()
    assert clock.read() == (9.0, 5.0 - 1.5)
