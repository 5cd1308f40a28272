"""The line after each trial, and how many trials there will be."""

import io
import re
import types

import keras_tuner
import pytest

from kerasreg.cli._progress import OneLine, progress_line, reporting, training_line
from kerasreg.tuners import expected_trials


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def _trial(number, score):
    status = "FAILED" if score is None else "COMPLETED"
    return types.SimpleNamespace(trial_id=str(number), score=score, status=status)


def _tuner(scores, direction="max"):
    """What the progress reads of a tuner, with trials of these scores (None: failed)."""
    trials = {str(number): _trial(number, score) for number, score in enumerate(scores)}
    oracle = types.SimpleNamespace(
        objective=keras_tuner.Objective("val_accuracy", direction),
        trials=trials,
        get_trial=trials.__getitem__,
    )
    return types.SimpleNamespace(oracle=oracle)


def _line(scores, done, total, elapsed, left="", direction="max"):
    tuner = _tuner(scores, direction)
    last = tuner.oracle.trials[str(len(scores) - 1)]
    return progress_line(tuner, last, done, total, elapsed, left)


def test_the_line_tells_trials_best_elapsed_and_left():
    assert _line([0.5, 0.75], 2, 10, 60.0, "about 4:00 left") == (
        "trial 2/10: val_accuracy 0.7500 (1), best 0.7500 (1), 1:00 elapsed, about 4:00 left"
    )


def test_the_best_stays_when_the_last_is_worse():
    assert "val_accuracy 0.5000 (1), best 0.7500 (0)" in _line([0.75, 0.5], 2, 4, 1.0)


def test_the_best_of_errors_is_the_smallest():
    line = _line([0.75, 0.5, 0.6], 3, 4, 1.0, direction="min")
    assert "val_accuracy 0.6000 (2), best 0.5000 (1)" in line


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([None], "failed, none completed"),
        ([0.5, None], "failed, best 0.5000 (0)"),
        ([float("nan"), 0.25], "val_accuracy 0.2500 (1), best 0.2500 (1)"),
    ],
)
def test_failed_trials_are_called_failed_and_never_best(scores, said):
    assert f": {said}, " in _line(scores, len(scores), 5, 1.0, "about 0:04 left")


def test_nothing_is_left_in_the_end():
    assert _line([0.5] * 4, 4, 4, 8.0, "about 0:00 left").endswith("0:08 elapsed")


def test_without_a_total_nothing_is_said_about_the_end():
    line = _line([0.5], 1, None, 5.0)
    assert line.startswith("trial 1: ")
    assert line.endswith("0:05 elapsed")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0:00"),
        (0.6, "0:01"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599.6, "1:00:00"),
        (3661.0, "1:01:01"),
        (90000.0, "25:00:00"),
    ],
)
def test_durations_carry_over(seconds, said):
    assert f", {said} elapsed" in _line([0.5], 1, None, seconds)


class _Hyperband(keras_tuner.Hyperband):
    """Trains nothing: a trial's score is one of its hyperparameters."""

    def run_trial(self, trial, *args, **kwargs):
        return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2


class _Random(keras_tuner.RandomSearch):
    clock = None
    seconds = 0.0

    def run_trial(self, trial, *args, **kwargs):
        self.clock.now += self.seconds
        return trial.hyperparameters.Float("x", -1.0, 1.0) ** 2


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 9, 10, 27])
def test_hyperband_runs_as_many_trials_as_expected(tmp_path, epochs):
    space = keras_tuner.HyperParameters()
    space.Float("x", -1.0, 1.0)
    tuner = _Hyperband(hyperparameters=space, max_epochs=epochs, directory=tmp_path, seed=1)
    expected = expected_trials(tuner)
    tuner.search(verbose=0)
    assert len(tuner.oracle.trials) == expected


def test_other_tuners_are_expected_to_run_their_trials(tmp_path):
    tuner = keras_tuner.RandomSearch(
        lambda hp: None, objective="val_loss", max_trials=7, directory=tmp_path
    )
    assert expected_trials(tuner) == 7
    tuner.oracle.max_trials = None
    assert expected_trials(tuner) is None


def _search(folder, trials, seconds, lines):
    """Runs a search on a fake clock, on which each trial takes so many seconds."""
    clock = FakeClock()
    tuner = reporting(_Random, lines.append, clock)(max_trials=trials, directory=folder, seed=1)
    tuner.clock, tuner.seconds = clock, seconds
    tuner.search(verbose=0)
    return tuner


def test_a_search_writes_one_line_for_each_trial(tmp_path):
    lines = []
    tuner = _search(tmp_path, 6, 60.0, lines)
    times = [re.search(r"^trial (\S+): .*, (\S+) elapsed(?:, (.*))?$", one) for one in lines]
    assert [one.groups() for one in times] == [
        ("1/6", "1:00", None),
        ("2/6", "2:00", None),
        ("3/6", "3:00", None),
        ("4/6", "4:00", "1:50 to 2:10 left"),
        ("5/6", "5:00", "0:55 to 1:05 left"),
        ("6/6", "6:00", None),
    ]
    best = min(trial.score for trial in tuner.oracle.trials.values())
    assert f"best {best:.4f} (" in lines[-1]
    # What the tuner itself does after a trial is still done.
    assert (tmp_path / "untitled_project" / "tuner0.json").exists()


def test_a_resumed_search_counts_on_and_times_only_itself(tmp_path, capsys):
    _search(tmp_path, 2, 60.0, [])
    lines = []
    _search(tmp_path, 8, 10.0, lines)
    assert [one.split(":")[0] for one in lines] == [f"trial {k}/8" for k in range(3, 9)]
    assert lines[3].endswith("0:40 elapsed, 0:19 to 0:21 left")


def test_a_limit_is_the_most_that_is_left(tmp_path):
    clock, lines = FakeClock(), []
    kind = reporting(_Random, lines.append, clock, limit=300.0)
    tuner = kind(max_trials=100, directory=tmp_path, seed=1)
    tuner.clock, tuner.seconds = clock, 60.0
    tuner.oracle.max_trials = 4
    tuner.search(verbose=0)
    assert lines[0].endswith("1:00 elapsed, at most 4:00 left")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_line_is_written_over_the_one_before(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream, written = Terminal(), []
    line = OneLine(written.append, stream)
    line("a line")
    line("short")
    line("a line that is wider than the terminal")
    line.close()
    line.close()
    assert stream.getvalue() == "\ra line\rshort \ra line that is wid\u2026\n"
    assert written == []


def _training(ended, running, expected):
    progress = {"state": "running", "ended": ended, "running": running, "expected": expected}
    return training_line(types.SimpleNamespace(progress=progress), 83.0)


def test_between_the_ends_of_trials_it_is_said_how_many_are_in_training():
    assert _training(0, 16, 40) == "trial 0/40: 16 in training, 1:23 elapsed"
    assert _training(3, 1, None) == "trial 3: 1 in training, 1:23 elapsed"
    assert _training(40, 0, 40) is None
    assert training_line(types.SimpleNamespace(progress=None), 1.0) is None


def test_a_passing_line_is_for_terminals():
    stream, written = Terminal(), []
    line = OneLine(written.append, stream)
    line.passing("16 in training")
    line("trial 1")
    assert stream.getvalue() == "\r16 in training\rtrial 1       "
    assert written == []


def test_in_a_pipe_each_line_stays():
    stream, written = io.StringIO(), []
    line = OneLine(written.append, stream)
    line("one")
    line.passing("16 in training")
    line("two")
    line.close()
    assert written == ["one", "two"]
    assert stream.getvalue() == ""
