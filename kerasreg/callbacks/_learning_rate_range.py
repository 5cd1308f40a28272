"""The result of a learning-rate range test, and the rates that the losses suggest."""

from __future__ import annotations

import bisect
import dataclasses
import os
from typing import Any, NamedTuple

import numpy as np

from kerasreg._pictures import COLOURS, LINES, Look, drawn_to, grid
from kerasreg._report import Report, plain


class RangeTestRow(NamedTuple):
    """One batch of a range test.

    Attributes:
        rate: the learning rate.
        loss: the loss of the batch.
        smoothed: the exponential moving average of the losses, without its bias towards zero.
    """

    rate: float
    loss: float
    smoothed: float


@dataclasses.dataclass(frozen=True)
class RangeTestResult(Report):
    """Losses over learning rates, from small to large, and the rates that they suggest.

    Suggestions leave out the first tenth, in which the smoothed loss is of few batches.

    Attributes:
        rates: the learning rates, which grow, shape (steps,).
        losses: of the batch of each, shape (steps,).
        smoothed: their exponential moving average, without its bias towards zero, shape (steps,).
        diverged: whether the test was ended because the loss exploded.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool

    @property
    def rows(self) -> tuple[RangeTestRow, ...]:
        """A `RangeTestRow` for each batch."""
        columns = (self.rates, self.losses, self.smoothed)
        return tuple(RangeTestRow(*map(float, row)) for row in zip(*columns, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """The rows, whether the loss exploded, and the suggestions, as plain values.

        Returns:
            A dictionary with `rows`, `diverged`, `valley`, `steepest` and `minimum`.
        """
        names = ("rows", "diverged", "valley", "steepest", "minimum")
        return {name: plain(getattr(self, name)) for name in names}

    @property
    def steepest(self) -> float:
        """The rate before the least loss at which it falls fastest over the rate's logarithm.

        The slope is the one of a line through a tenth of the losses. A line through two
        losses would mostly show noise.
        """
        rates, losses = self._settled()
        width = max(len(rates) // 10, 3)
        lines = max(int(np.argmin(losses)) + 2 - width, 1)
        slopes = [np.polyfit(range(width), losses[k : k + width], 1)[0] for k in range(lines)]
        return float(rates[int(np.argmin(slopes)) + width // 2])

    @property
    def valley(self) -> float:
        """The middle of the longest fall: of the longest series of losses each below the last.

        The losses of the series need not be neighbours, so that the series passes over bumps.
        fastai's suggestion of this name lies a twelfth of the series to the left of the middle.
        """
        rates, losses = self._settled()
        first, last = _longest_fall(losses)
        return float(np.sqrt(rates[first] * rates[last]))

    @property
    def minimum(self) -> float:
        """A tenth of the rate at which the loss is least."""
        rates, losses = self._settled()
        return float(rates[int(np.argmin(losses))] / 10.0)

    def _settled(self) -> tuple[np.ndarray, np.ndarray]:
        left_out = len(self.rates) // 10
        return self.rates[left_out:], self.smoothed[left_out:]

    def __str__(self) -> str:
        end = "the loss exploded" if self.diverged else "the last one"
        return (
            f"{len(self.rates)} learning rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g} "
            f"({end})\n"
            f"valley    {self.valley:.3g}\n"
            f"steepest  {self.steepest:.3g}\n"
            f"minimum   {self.minimum:.3g}"
        )

    def plot(self, path: str | os.PathLike[str] | None = None, *, style: str | None = None) -> Any:
        """Draws the losses over the rates, and the suggestions.

        Args:
            path: where to write the picture too, a name that ends with `.png` or `.svg`.
                It is written beside and renamed.
            style: `"light"` or `"dark"`; None for dark where Matplotlib draws on dark paper, as
                `plt.style.use("dark_background")` has it, and else light.

        Returns:
            The Matplotlib figure, which notebooks show.

        Raises:
            ImportError: if Matplotlib is not installed.
            ValueError: if the name ends otherwise, or `style` is none of these.
            OSError: if it cannot be written.
        """
        return drawn_to(path, "RangeTestResult.plot", 7.0, 4.5, self._draw, style)

    def _draw(self, drawn: Any, look: Look) -> None:
        axes = drawn.subplots()
        axes.plot(
            self.rates,
            self.losses,
            color=look.soft,
            linewidth=0.8,
            alpha=0.7,
            label="loss of a batch",
        )
        axes.plot(self.rates, self.smoothed, color=COLOURS[0], linewidth=2.2, label="smoothed")
        for number, name in enumerate(("valley", "steepest", "minimum"), 1):
            rate = getattr(self, name)
            axes.axvline(
                rate,
                color=COLOURS[number],
                linestyle=LINES[number],
                linewidth=1.8,
                label=f"{name}: {rate:.2g}",
            )
        low, high = float(np.min(self.smoothed)), float(np.max(self.smoothed[:1]))
        # The explosion at the end would leave nothing to be seen of the rest.
        axes.set_ylim(low - 0.1 * (high - low) - 1e-9, high + 0.5 * abs(high - low) + 1e-9)
        axes.set_xscale("log")
        grid(axes, look)
        axes.set_xlabel("learning rate, per step (logarithmic)")
        axes.set_ylabel("loss, mean of a batch")
        axes.set_title("Loss by the learning rate")
        # Beside, where it hides no line.
        drawn.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _longest_fall(losses: np.ndarray) -> tuple[int, int]:
    """Where the longest strictly decreasing subsequence begins and ends (by patience sorting)."""
    tops: list[float] = []  # Of the series of each length, the best last loss, negated,
    starts: list[int] = []  # and where that series began.
    first = last = 0
    for index, loss in enumerate(losses):
        length = bisect.bisect_left(tops, -loss)
        start = starts[length - 1] if length else index
        if length == len(tops):
            tops.append(-loss)
            starts.append(start)
            first, last = start, index
        else:
            tops[length], starts[length] = -loss, start
    return first, last
