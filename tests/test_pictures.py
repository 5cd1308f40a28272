"""The style of all pictures: colours that all eyes tell apart, on light and on dark paper."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from kerasreg import schedules
from kerasreg._pictures import COLOURS, DARK, LIGHT, LINES, MARKERS, look_of
from kerasreg.callbacks import RangeTestResult
from kerasreg.models import SignalReport, SignalRow
from kerasreg.tuners import EnsembleMember, EnsembleSelection, PathPoint, RegularizationPath

# Of linear RGB: what eyes without red and without green cones see, after Machado, Oliveira and
# Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency".
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour):
    values = np.array(to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    relative = XYZ @ np.clip(rgb, 0.0, 1.0) / XYZ.sum(axis=1)
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    """The contrast of WCAG, from 1 to 21."""
    high, low = sorted((XYZ[1] @ linear(one), XYZ[1] @ linear(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("eyes", EYES)
def test_all_eyes_tell_the_colours_apart(eyes):
    # A difference of 2.3 can just be seen side by side; ten times that, anywhere.
    for one, other in itertools.combinations(COLOURS, 2):
        seen = [lab(EYES[eyes] @ linear(colour)) for colour in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 23.0, (one, other)


def test_the_simulation_does_what_it_says():
    """Red and green of one lightness are far apart, but not for eyes without a kind of cone."""
    red, green = linear("#d95f02"), linear("#8a8a00")
    assert np.linalg.norm(lab(red) - lab(green)) > 40.0
    for eyes in ("protanopia", "deuteranopia"):
        seen = [lab(EYES[eyes] @ colour) for colour in (red, green)]
        assert np.linalg.norm(seen[0] - seen[1]) < 25.0


@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_and_text_have_contrast_on_both_papers(look):
    for colour in COLOURS:
        assert contrast(colour, look.paper) >= 3.0
    assert contrast(look.soft, look.paper) >= 3.0
    assert contrast(look.ink, look.paper) >= 7.0


def test_lines_differ_without_colours_too():
    assert len(set(map(str, LINES))) == len(set(MARKERS)) == len(COLOURS)
    many = [str(LIGHT.line(number)) for number in range(3 * len(COLOURS))]
    assert len(set(many)) == len(many)


def pictures():
    """One of each kind, without a training."""
    generator = np.random.default_rng(0)
    rates = np.geomspace(1e-6, 1.0, 100)
    losses = 2.0 - 1.2 / (1 + (1e-2 / rates) ** 1.5) + np.where(rates > 0.3, 40 * (rates - 0.3), 0)
    yield "lr-find", RangeTestResult(rates, losses + generator.normal(0, 0.06, 100), losses, False)
    yield "signal", SignalReport(
        tuple(
            SignalRow(f"block{k // 2}/dense_{k % 2}", "Dense", 0.0, 0.5**k, 1.0, 1e-3 * 1.4**k,
                      2e-3 * 1.3**k, True)
            for k in range(10)
        ),
        "fine", None, "all layers are within a factor of 1000",
    )  # fmt: skip
    strengths = np.geomspace(1e-4, 1.0, 12)
    weights = [np.maximum(0, 1 - s / np.linspace(0.01, 0.5, 20)) * np.tile([1, -1], 10)
               for s in strengths]  # fmt: skip
    yield (
        "path",
        RegularizationPath(
            tuple(
                PathPoint(s, float((w == 0).mean()), {"loss": 0.3 + s, "val_loss": 0.4 + s})
                for s, w in zip(strengths.tolist(), weights, strict=True)
            ),
            tuple([w] for w in weights),
            (0,),
        ),
    )
    yield "ensemble", EnsembleSelection(
        tuple(
            EnsembleMember(f"{number:04d}", share, 0.3 + 0.02 * number)
            for number, share in enumerate([0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05])
        ),
        "log_loss", 0.25, 0.27, 0.01, "0000", 0.3,
        *(np.zeros(1) for _ in range(3)), None,
    )  # fmt: skip
    yield "schedule", schedules.OneCycle(0.1, 100)


class Several:
    """Schedules in one picture."""

    @staticmethod
    def plot(path=None, style=None):
        named = {
            "cosine": schedules.Cosine(0.1, 0.0, 100),
            "steps": schedules.Step(0.1, 0.5, 20),
            "restarts": schedules.CosineRestarts(0.08, 25),
            "one cycle": schedules.OneCycle(0.1, 100),
            "warm-up": schedules.Warmup(schedules.Linear(0.1, 0.0, 100), 10),
            "time": schedules.TimeBased(0.1, 0.05),
            "constant": schedules.Constant(0.05),
        }
        return schedules.plot(named, path, steps=110, style=style)


PICTURES = {**dict(pictures()), "schedules": Several()}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])
def test_each_picture_has_the_style_names_and_readable_text(kind, look, tmp_path):
    style = "light" if look is LIGHT else "dark"
    drawn = PICTURES[kind].plot(tmp_path / "picture.svg", style=style)
    assert matplotlib.colors.to_hex(drawn.get_facecolor()) == look.paper
    assert f"fill: {look.paper}" in (tmp_path / "picture.svg").read_text()
    shared = 0
    for axes in drawn.axes:
        # Axes that share one have its name on the other.
        shared += not axes.get_xlabel() or not axes.get_ylabel()
        for line in axes.get_lines():
            known = {*COLOURS, look.soft}
            assert matplotlib.colors.to_hex(line.get_color()) in known
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
        texts += [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts]
        for text in filter(lambda text: text.get_text(), texts):
            assert text.get_fontsize() >= 9
            assert contrast(text.get_color(), look.paper) >= 4.5
    assert shared <= len(drawn.axes) - 1


def test_the_style_is_that_of_the_paper_unless_it_is_said(tmp_path):
    assert look_of(None) is LIGHT
    with matplotlib.rc_context({"figure.facecolor": "black"}):
        assert look_of(None) is DARK
        assert look_of("light") is LIGHT
        drawn = PICTURES["schedule"].plot()
    assert matplotlib.colors.to_hex(drawn.get_facecolor()) == DARK.paper
    with matplotlib.rc_context({"figure.facecolor": "none"}):
        assert look_of(None) is LIGHT
    # It is drawn later, where the settings are others.
    drawn.savefig(tmp_path / "later.svg")
    (axes,) = drawn.axes
    label = axes.get_xticklabels()[0]
    assert matplotlib.colors.to_hex(label.get_color()) == DARK.ink


@pytest.mark.parametrize("kind", PICTURES)
def test_another_style_is_refused_before_anything_is_written(kind, tmp_path):
    with pytest.raises(ValueError, match=r"`style` must be one of 'light', 'dark'\. Received: "):
        PICTURES[kind].plot(tmp_path / "picture.png", style="blue")
    assert list(tmp_path.iterdir()) == []
