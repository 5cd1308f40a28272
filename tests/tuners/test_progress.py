"""What a search shows: one line on a terminal, few lines elsewhere, none when asked."""

import io
import re
import sys
import types

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
    progress = Progress(tuner, stream=io.StringIO(), clock=clock, limit=lambda: 30.0 - clock.now)
    clock.now = 4.0
    end(tuner)
    progress.running, progress.stopped = 6, 1
    assert progress.line() == (
        "trials 2/8, 6 running, 1 stopped early, best val_loss 0.25, 0.5/s, 0:04 elapsed, "
        "at most 0:26 left"
    )


def test_the_time_left_is_that_of_the_trials_that_ended(build, tmp_path):
    tuner = tuners.VectorizedRandomSearch(build, "val_loss", max_trials=20, directory=tmp_path)
    stream, clock = io.StringIO(), Clock()
    progress = Progress(tuner, stream=stream, clock=clock)
    for _ in range(10):
        trial = tuner.oracle.create_trial("t")
        clock.now += 10.0
        progress.update(1, trials=[trial.trial_id])
        tuner.oracle.update_trial(trial.trial_id, {"val_loss": 0.5})
        end(tuner)
    lines = stream.getvalue().splitlines()
    assert not any("left" in line for line in lines[:4])
    # One more ends then, which is told next.
    assert lines[-1].endswith("1:40 elapsed, 1:40 to 2:05 left")


def test_a_line_is_no_wider_than_the_terminal(tuner, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream, clock = Terminal(), Clock()
    progress = Progress(tuner, stream=stream, clock=clock)
    for _ in range(3):
        clock.now += 1.0
        progress.update(8)
    progress.close()
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert {len(line.rstrip("\n")) for line in text.split("\r")[1:]} == {29}


class Handle:
    """What IPython's `display` gives."""

    def __init__(self):
        self.seen = []

    def update(self, data, raw):
        assert raw
        self.seen.append(data)


@pytest.fixture
def notebook(monkeypatch):
    """IPython's modules as a notebook has them; what was displayed, and what changed in it."""
    handle, displayed = Handle(), []

    def display(data, raw, display_id):
        assert raw
        assert display_id
        displayed.append(data)
        return handle

    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return types.SimpleNamespace(shell=shell, displayed=displayed, handle=handle)


def test_a_notebook_shows_one_line_that_changes(tuner, notebook, capsys):
    clock, tuner.oracle.verbose = Clock(), 0
    progress = Progress(tuner, clock=clock)
    for _ in range(3):
        clock.now += 1.0
        progress.update(8)
    end(tuner)
    tuner.oracle.objective.name = "<b>"
    progress.update(0, last=True)
    (first,) = notebook.displayed
    assert first["text/plain"].startswith("trials 0/8, 8 running")
    assert '<progress max="8" value="0">' in first["text/html"]
    assert len(notebook.handle.seen) == 3
    last = notebook.handle.seen[-1]
    assert '<progress max="8" value="2">' in last["text/html"]
    assert "best &lt;b&gt; 0.25" in last["text/html"]
    assert capsys.readouterr().out == ""


def test_a_notebook_is_quiet_where_asked(tuner, notebook, capsys):
    Progress(tuner, quiet=True).update(0, last=True)
    assert notebook.displayed == []
    assert capsys.readouterr().out == ""


def test_ipython_in_a_terminal_is_no_notebook(tuner, notebook, capsys):
    notebook.shell.kernel = None
    Progress(tuner).update(0, last=True)
    assert notebook.displayed == []
    assert capsys.readouterr().out.startswith("trials ")


def test_ipython_is_not_imported_for_it(tuner, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", None)
    Progress(tuner).update(0, last=True)
    assert capsys.readouterr().out.startswith("trials ")


def test_a_line_is_written_over_on_a_terminal(tuner):
    stream, clock = Terminal(), Clock()
    progress = Progress(tuner, stream=stream, clock=clock)
    progress.update(8)
    clock.now = 0.1
    progress.update(8)  # So soon none is seen.
    clock.now = 1.0
    progress.update(7)
    progress.update(0, last=True)
    text = stream.getvalue()
    assert text.count("\r") == 3
    assert text.count("\n") == 1
    assert text.endswith("\n")
    # What a longer line has left is covered.
    lengths = [len(line.rstrip("\n")) for line in text.split("\r")[1:]]
    assert lengths[1] >= lengths[0]
    assert lengths[2] >= len(text.split("\r")[2].rstrip())


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
    assert tuners.trials_left(tuner) == 8
    grid = tuners.VectorizedGridSearch(build, "val_loss", directory=tmp_path / "grid")
    assert tuners.expected_trials(grid) is None
    assert tuners.trials_left(grid) is None
    hyperband = tuners.VectorizedHyperband(
        build, "val_loss", max_epochs=3, directory=tmp_path / "hyperband"
    )
    # Three of one epoch, of which one goes on to the third, and two of three epochs.
    assert tuners.expected_trials(hyperband) == 3 + 1 + 2
    assert tuners.trials_left(hyperband) is None  # Later ones are longer.


def test_durations():
    assert [duration(s) for s in (0.4, 61, 3723)] == ["0:00", "1:01", "1:02:03"]
