"""What a search shows: one line on a terminal, few lines elsewhere, none when asked."""

import io
import re

import pytest

from kerasreg import tuners
from kerasreg._durations import duration
from kerasreg.tuners._progress import Progress

pytestmark = pytest.mark.shares_programs


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def tuner(build, tmp_path):
    found = tuners.VectorizedRandomSearch(build, "val_loss", max_trials=8, directory=tmp_path)
    for number, score in enumerate([0.5, 0.25]):
        trial = found.oracle.create_trial(f"t{number}")
        found.oracle.update_trial(trial.trial_id, {"val_loss": score})
    return found


def end(tuner):
    for trial in list(tuner.oracle.ongoing_trials.values()):
        trial.status = "COMPLETED"
        tuner.oracle.end_trial(trial)


def test_the_line_has_everything(tuner):
    clock = Clock()
    progress = Progress(tuner, stream=io.StringIO(), clock=clock)
    clock.now = 4.0
    end(tuner)
    progress.running, progress.stopped = 6, 1
    assert progress.line() == (
        "trials 2/8, 6 running, 1 stopped early, best val_loss 0.25, 0.5/s, 0:04 elapsed, "
        "about 0:12 left"
    )


def test_a_line_is_written_over_on_a_terminal(tuner):
    stream = Terminal()
    progress = Progress(tuner, stream=stream, clock=Clock())
    progress.update(8)
    progress.update(7)
    progress.update(0, last=True)
    text = stream.getvalue()
    assert text.count("\r") == 3
    assert text.count("\n") == 1
    assert text.endswith("\n")
    # What a longer line has left is covered.
    lengths = [len(line.rstrip("\n")) for line in text.split("\r")[1:]]
    assert lengths == sorted(lengths, reverse=True) or len(set(lengths)) == 1


def test_elsewhere_there_is_a_line_each_ten_seconds(tuner):
    stream, clock = io.StringIO(), Clock()
    progress = Progress(tuner, stream=stream, clock=clock)
    for second in range(25):
        clock.now = float(second)
        progress.update(8)
    progress.update(0, last=True)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "\r" not in stream.getvalue()


def test_quiet_is_quiet(tuner):
    stream = Terminal()
    Progress(tuner, quiet=True, stream=stream).update(0, last=True)
    assert stream.getvalue() == ""


def test_a_search_shows_one_line_and_nothing_else(searched):
    (line,) = searched.printed.splitlines()
    assert re.fullmatch(r"trials 6/6, best val_loss [\d.]+, [\d.]+/s, 0:\d\d elapsed", line)


def test_how_many_trials_there_will_be(build, tuner, tmp_path):
    assert tuners.expected_trials(tuner) == 8
    grid = tuners.VectorizedGridSearch(build, "val_loss", directory=tmp_path / "grid")
    assert tuners.expected_trials(grid) is None
    hyperband = tuners.VectorizedHyperband(
        build, "val_loss", max_epochs=3, directory=tmp_path / "hyperband"
    )
    # Three of one epoch, of which one goes on to the third, and two of three epochs.
    assert tuners.expected_trials(hyperband) == 3 + 1 + 2


def test_durations():
    assert [duration(s) for s in (0.4, 61, 3723)] == ["0:00", "1:01", "1:02:03"]
