"""kerasreg.schedules.plot: what the picture shows, and how it is written."""

import os
import sys

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from kerasreg.schedules import Constant, CosineRestarts, Linear, OneCycle, Step, plot

CURVES = keras.optimizers.schedules


class Curve(CURVES.LearningRateSchedule):
    """A user's own, which takes one step at a time."""

    def __call__(self, step):
        return 0.5 if step < 3 else 1.0 / float(step)

    def get_config(self):
        return {}


def lines(figure):
    """What is drawn: of each line its label, steps and values."""
    (axes,) = figure.axes
    return [(line.get_label(), *line.get_data()) for line in axes.get_lines()]


def assert_drawn(line, schedule):
    _, steps, values = line
    picked = range(0, len(steps), max(len(steps) // 40, 1))
    expected = [float(schedule(int(steps[index]))) for index in picked]
    np.testing.assert_allclose(np.asarray(values)[picked], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "schedule",
    [
        Linear(1.0, 0.0, 30),
        OneCycle(0.1, 100),
        Step(0.5, 0.5, 10),
        Constant(0.3),
        CURVES.CosineDecay(0.1, 50, warmup_target=0.5, warmup_steps=10),
        CURVES.CosineDecayRestarts(0.1, 20),
        CURVES.ExponentialDecay(0.1, 20, 0.5, staircase=True),
        CURVES.InverseTimeDecay(0.1, 20, 0.5),
        CURVES.PiecewiseConstantDecay([10, 20], [0.3, 0.2, 0.1]),
        CURVES.PolynomialDecay(0.1, 30, 0.01, cycle=True),
        Curve(),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_the_line_has_the_values_of_the_schedule(schedule):
    figure = plot(schedule, steps=60)
    assert isinstance(figure, Figure)
    (line,) = lines(figure)
    assert line[1].tolist() == list(range(61))
    assert_drawn(line, schedule)


def test_a_dict_is_a_line_and_a_name_for_each():
    named = {"down": Linear(1.0, 0.0, 10), "keras": CURVES.CosineDecay(0.1, 20), "own": Curve()}
    figure = plot(named, steps=25)
    drawn = lines(figure)
    assert [line[0] for line in drawn] == list(named)
    for line, schedule in zip(drawn, named.values(), strict=True):
        assert_drawn(line, schedule)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(named)


@pytest.mark.parametrize(
    ("schedules", "steps"),
    [
        (Linear(1.0, 0.0, 100), 110),
        (Linear(1.0, 0.0, 7), 8),
        ({"short": Linear(1.0, 0.0, 10), "long": Linear(1.0, 0.0, 400)}, 440),
        (CosineRestarts(0.5, 20), 1000),
        (CURVES.CosineDecay(0.1, 50), 1000),
        ({"ends": Linear(1.0, 0.0, 10), "does not": Step(0.5, 0.5, 10)}, 1000),
        (Constant(0.3), 1000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_steps_it_draws_a_tenth_more_than_until_all_stay_or_1000(schedules, steps):
    for _, at, _ in lines(plot(schedules)):
        assert (at[0], at[-1]) == (0, steps)


def test_many_steps_are_whole_numbers_from_the_first_to_the_last():
    schedule = Linear(1.0, 0.0, 10**6)
    (line,) = lines(plot(schedule, steps=10**6))
    _, steps, _ = line
    assert (steps[0], steps[-1]) == (0, 10**6)
    assert np.all(np.diff(steps) > 0)
    assert np.issubdtype(steps.dtype, np.integer)
    assert_drawn(line, schedule)


def test_the_method_of_a_schedule_draws_the_same(tmp_path):
    schedule = 0.1 * Linear(1.0, 0.0, 10)
    drawn = lines(schedule.plot(tmp_path / "one.png", steps=15))
    for one, other in zip(drawn, lines(plot(schedule, steps=15)), strict=True):
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[2], other[2])
    assert (tmp_path / "one.png").exists()


def test_the_title_of_one_is_the_schedule_with_its_arguments():
    (axes,) = plot(Linear(1.0, 0.0, 10)).axes
    assert axes.get_title() == "Linear(start=1.0, end=0.0, steps=10)"


# Files.


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_the_picture_is_written_as_the_name_says(tmp_path, as_path):
    figure = plot(Linear(1.0, 0.0, 10), as_path(tmp_path / "new" / "one.png"))
    plot(Linear(1.0, 0.0, 10), as_path(tmp_path / "new" / "one.svg"))
    assert isinstance(figure, Figure)
    assert (tmp_path / "new" / "one.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "new" / "one.svg").read_bytes()
    assert sorted(os.listdir(tmp_path / "new")) == ["one.png", "one.svg"]


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "one.svg").write_text("old")

    def fail(*paths):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        plot(Linear(1.0, 0.0, 10), tmp_path / "one.svg")
    assert os.listdir(tmp_path) == ["one.svg"]
    assert (tmp_path / "one.svg").read_text() == "old"


# Refusals.


@pytest.mark.parametrize("name", ["one.jpg", "one", "png", ""])
def test_another_name_is_refused_before_anything_is_drawn(name):
    with pytest.raises(ValueError, match=r"`path` must end with \.png or \.svg\. Received: path="):
        plot(None, name)


@pytest.mark.parametrize(
    "schedules", [None, 0.1, {"number": 0.1}, [Linear(1.0, 0.0, 10)], {}, Linear, "linear"]
)
def test_what_is_no_schedule_is_refused(schedules):
    with pytest.raises(ValueError, match=r"`schedules` must .*Received: schedules="):
        plot(schedules)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "10", True])
def test_steps_that_are_no_count_are_refused(steps):
    with pytest.raises(ValueError, match=r"`steps` must be a whole number >= 1\. Received"):
        plot(Linear(1.0, 0.0, 10), steps=steps)


def test_a_schedule_that_fails_says_so():
    class Broken(Curve):
        def __call__(self, step):
            raise RuntimeError("no such step")

    with pytest.raises(RuntimeError, match="no such step"):
        plot(Broken())


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for call in (plot, Linear.plot):
        with pytest.raises(ImportError, match=r"pip install 'kerasreg\[plot\]'"):
            call(Linear(1.0, 0.0, 10), tmp_path / "one.png")
    assert os.listdir(tmp_path) == []
