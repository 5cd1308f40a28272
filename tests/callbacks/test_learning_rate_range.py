"""Range tests: what they suggest, against brute force and known curves, and their picture."""

import os
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg.callbacks import RangeTestResult

laws = settings(deadline=None, max_examples=100, derandomize=True)
# Few different values, so that many are equal.
losses = st.lists(st.integers(0, 12), min_size=5, max_size=35).map(lambda n: np.array(n) / 4)


def range_test(smoothed, low=1e-6, high=1.0, diverged=False):
    smoothed = np.asarray(smoothed, dtype="float64")
    rates = np.geomspace(low, high, len(smoothed))
    return RangeTestResult(rates, smoothed + 0.1, smoothed, diverged)


def settled(found):
    """Without the first tenth."""
    return found.rates[len(found.rates) // 10 :], found.smoothed[len(found.rates) // 10 :]


def ends_of_longest_falls(values):
    """First and last index of each longest strictly decreasing subsequence."""
    longest = {}
    for last in range(len(values)):
        longest[last, last] = 1
        for first in range(last):
            lengths = [
                longest[first, before] + 1
                for before in range(first, last)
                if values[before] > values[last] and (first, before) in longest
            ]
            if lengths:
                longest[first, last] = max(lengths)
    most = max(longest.values())
    return [ends for ends, length in longest.items() if length == most]


@laws
@given(losses)
def test_valley_is_the_middle_of_a_longest_fall(smoothed):
    found = range_test(smoothed)
    rates, values = settled(found)
    middles = [np.sqrt(rates[i] * rates[j]) for i, j in ends_of_longest_falls(values)]
    assert any(np.isclose(found.valley, middle, rtol=1e-9) for middle in middles)


def test_valley_leaves_out_a_bump():
    falling = np.linspace(2.0, 1.0, 20)
    falling[8:10] = 5.0
    found = range_test([3.0, *falling, *[4.0] * 9], low=1e-3)
    rates, _ = settled(found)
    assert found.rates[3] == rates[0]
    assert found.valley == pytest.approx(np.sqrt(found.rates[3] * found.rates[20]))


@laws
@given(losses)
def test_minimum_is_a_tenth_of_the_rate_of_the_least_loss(smoothed):
    found = range_test(smoothed)
    rates, values = settled(found)
    assert found.minimum == pytest.approx(rates[np.argmin(values)] / 10)


@pytest.mark.parametrize("middle", [-4.0, -3.3, -2.0])
@pytest.mark.parametrize("width", [0.1, 0.5])
@pytest.mark.parametrize("steps", [50, 100, 400])
def test_steepest_is_the_middle_of_a_logistic_curve(middle, width, steps):
    logarithms = np.linspace(-6.0, 0.0, steps)
    found = range_test(1.0 + 1.0 / (1.0 + np.exp((logarithms - middle) / width)))
    one_step = 6.0 / (steps - 1)
    assert np.log10(found.steepest) == pytest.approx(middle, abs=max(one_step, 0.05))


@laws
@given(st.lists(st.floats(0.0, 1.0), min_size=30, max_size=60))
def test_steepest_is_before_the_least_loss_and_behind_the_first_tenth(smoothed):
    found = range_test(smoothed)
    rates, values = settled(found)
    assert found.steepest >= rates[0]
    width = max(len(rates) // 10, 3)
    if np.argmin(values) >= width:
        assert found.steepest <= rates[np.argmin(values)]


def test_steepest_is_none_of_a_steeper_fall_after_the_least_loss():
    slow, high = np.linspace(2.0, 1.0, 40), [9.0] * 10
    found = range_test([*slow, *high, 7.0, 5.0, 3.0, 1.5, *[2.0] * 6])
    assert found.steepest <= found.rates[39]


def test_steepest_is_none_of_a_fall_in_the_first_tenth():
    found = range_test([*np.linspace(9.0, 2.0, 10), *[2.0] * 40, *np.linspace(2.0, 1.0, 50)])
    assert found.steepest > found.rates[40]


def test_steepest_is_hardly_moved_by_noise():
    logarithms = np.linspace(-6.0, 0.0, 100)
    noise = np.random.default_rng(0).normal(scale=0.02, size=100)
    found = range_test(1.0 + 1.0 / (1.0 + np.exp((logarithms + 3.0) / 0.3)) + noise)
    assert np.log10(found.steepest) == pytest.approx(-3.0, abs=0.5)


@pytest.mark.parametrize("smoothed", [[5.0, 4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_five_losses_are_enough(smoothed):
    found = range_test(smoothed, 1e-4, 1.0)
    for rate in (found.steepest, found.valley):
        assert 1e-4 <= rate <= 1.0


def test_printed_it_says_what_was_found():
    text = str(range_test(np.linspace(2.0, 1.0, 100), 1e-6, 1.0, diverged=True))
    assert "100 learning rates from 1e-06 to 1 (the loss exploded)" in text
    assert "minimum   0.1" in text


# Its picture.


@pytest.fixture(scope="module")
def found():
    return range_test([*np.linspace(2.0, 1.0, 40), *np.linspace(1.0, 4.0, 10)])


def test_the_picture_shows_the_losses_over_the_rates_and_the_suggestions(found):
    (axes,) = found.plot().axes
    raw, smoothed, *lines = axes.get_lines()
    np.testing.assert_array_equal(raw.get_xydata(), np.stack([found.rates, found.losses], 1))
    np.testing.assert_array_equal(smoothed.get_xydata(), np.stack([found.rates, found.smoothed], 1))
    at = [line.get_xdata()[0] for line in lines]
    assert sorted(at) == sorted([found.valley, found.steepest, found.minimum])
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_the_picture_is_written_as_the_name_says(found, tmp_path, as_path):
    figure = found.plot(as_path(tmp_path / "new" / "test.png"))
    found.plot(as_path(tmp_path / "test.SVG"))
    assert (tmp_path / "new" / "test.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "test.SVG").read_bytes()
    assert os.listdir(tmp_path / "new") == ["test.png"]
    assert len(figure.axes) == 1


def test_a_picture_that_cannot_be_written_leaves_the_old_one(found, tmp_path, monkeypatch):
    (tmp_path / "test.png").write_text("old")

    def fail(*paths):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        found.plot(tmp_path / "test.png")
    assert os.listdir(tmp_path) == ["test.png"]
    assert (tmp_path / "test.png").read_text() == "old"


@pytest.mark.parametrize("name", ["test.jpg", "test", "png", ""])
def test_another_name_is_refused(found, name):
    with pytest.raises(ValueError, match=r"`path` must end with \.png or \.svg"):
        found.plot(name)


def test_without_matplotlib_it_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"RangeTestResult.*pip install 'kerasreg\[plot\]'"):
        found.plot()
