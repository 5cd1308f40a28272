"""The result of a signal report: a table, a verdict and a picture."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from kerasreg._pictures import COLOURS, LINES, MARKERS, Look, drawn_to, grid
from kerasreg._report import Report
from kerasreg._text_table import table

# How far apart layers may be; `signal_report` says why.
_SPAN = 1e3


class SignalRow(NamedTuple):
    """The output of one call of a layer, and the gradient of the loss there.

    Gradients are None where the loss does not depend on the output, or there is no kernel.

    Attributes:
        layer: the path of the layer.
        kind: the class of the layer.
        mean: the mean of the output.
        variance: the variance of the output.
        gradient_norm: the norm of one sample's gradient with respect to the whole output,
            root mean square over the samples.
        gradient: the root mean square of the gradient's numbers.
        kernel_gradient: the root mean square of the kernel's gradient.
        is_judged: whether the verdict looks at the layer.
    """

    layer: str
    kind: str
    mean: float
    variance: float
    gradient_norm: float | None
    gradient: float | None
    kernel_gradient: float | None
    is_judged: bool


@dataclasses.dataclass(frozen=True)
class SignalReport(Report):
    """The signal in each layer, forward and backward, and whether the signal survives.

    Attributes:
        rows: a `SignalRow` for each call of a layer, in forward order.
        verdict: `"fine"`, `"vanishing"` or `"exploding"`.
        layer: the path of the layer where that begins, None when fine: seen from
            the input for activations, from the output for gradients.
        reason: a sentence with the numbers.
    """

    rows: tuple[SignalRow, ...]
    verdict: str
    layer: str | None
    reason: str

    def __str__(self) -> str:
        titles = SignalRow._fields[:-1]
        return f"{table(titles, [row[:-1] for row in self.rows])}\n{self.verdict}: {self.reason}"

    def plot(self, path: str | os.PathLike[str] | None = None, *, style: str | None = None) -> Any:
        """Draws variances and gradients over depth.

        Args:
            path: a file for the picture, whose name ends with `.png` or `.svg`; None writes
                no file. The file is written beside and renamed.
            style: `"light"` or `"dark"`; None for dark where Matplotlib draws on dark paper, as
                `plt.style.use("dark_background")` has it, and else light.

        Returns:
            The Matplotlib figure, which notebooks show.

        Raises:
            ImportError: if Matplotlib is not installed.
            ValueError: if the name of the file ends otherwise, or `style` is none of these.
            OSError: if the file cannot be written.
        """
        width = max(6.5, 0.3 * len(self.rows))
        return drawn_to(path, "SignalReport.plot", width, 6.5, self._draw, style)

    def _draw(self, drawn: Any, look: Look) -> None:
        depth = range(len(self.rows))
        above, below = drawn.subplots(2, 1, sharex=True)
        lines = (
            (above, "variance", "variance"),
            (below, "with respect to the output", "gradient"),
            (below, "with respect to the kernel", "kernel_gradient"),
        )
        for number, (axes, label, column) in enumerate(lines):
            values = [_shown(getattr(row, column)) for row in self.rows]
            axes.plot(
                depth,
                values,
                color=COLOURS[number],
                marker=MARKERS[number],
                linestyle=LINES[number],
                label=label,
            )
        titles = ("variance of activations", "gradient of the loss (RMS)")
        for axes, label in zip((above, below), titles, strict=True):
            axes.set_yscale("log")
            axes.set_ylabel(label)
            grid(axes, look)
        below.legend()
        below.set_xticks(list(depth), [row.layer for row in self.rows], rotation=90)
        below.set_xlabel("layer, from the input to the output")
        above.set_title(f"{self.verdict}: {self.reason}", wrap=True)


def _shown(value: float | None) -> float:
    """A value on a logarithmic axis: gaps for what has no place there."""
    return value if value is not None and math.isfinite(value) and value > 0 else math.nan


def judge(rows: Sequence[SignalRow]) -> tuple[str, str | None, str]:
    """The verdict on the rows that are judged, the layer where it begins, and why."""
    for row in rows:
        if not math.isfinite(row.variance):
            return "exploding", row.layer, f"the activations of {row.layer} are not finite"
    for row in reversed(rows):
        if not all(math.isfinite(value or 0.0) for value in (row.gradient, row.kernel_gradient)):
            return "exploding", row.layer, f"the gradients of {row.layer} are not finite"
    judged = [row for row in rows if row.is_judged]
    forward = [(row.layer, math.sqrt(row.variance)) for row in judged]
    backward = [
        (row.layer, row.gradient_norm) for row in reversed(judged) if row.gradient_norm is not None
    ]
    measures = {
        "standard deviation of the activations": forward,
        "norm of the gradients": backward,
    }
    for verdict, begins in (("exploding", _explodes_at), ("vanishing", _vanishes_at)):
        for what, values in measures.items():
            # What all are compared to: the first that is there at all.
            reference = next((one for one in values if one[1] > 0), ("", 1.0))
            ratios = [value / reference[1] for _, value in values]
            at = begins(ratios)
            if at is not None:
                layer = values[at][0]
                than = f"{ratios[at]:.2g} times that of {reference[0]}" if ratios[at] else "0"
                return verdict, layer, f"the {what} of {layer} is {than}"
    return "fine", None, f"all layers are within a factor of {_SPAN:g}"


def _explodes_at(ratios: list[float]) -> int | None:
    return next((n for n, ratio in enumerate(ratios) if ratio > _SPAN), None)


def _vanishes_at(ratios: list[float]) -> int | None:
    """Where the signal is lost for good; what is small before it is there again went around."""
    alive = max((n for n, ratio in enumerate(ratios) if ratio >= 1 / _SPAN), default=-1)
    return alive + 1 if alive + 1 < len(ratios) else None
