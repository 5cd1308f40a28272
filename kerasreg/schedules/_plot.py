"""Pictures of schedules."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasreg._descriptions import described
from kerasreg._pictures import Look, check_picture, drawn_to, grid
from kerasreg._validation import check_count

_STEPS = 1000  # Where no schedule says when it ends,
_POINTS = 2000  # and how many are drawn at most.


def plot(
    schedules: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    steps: int | None = None,
    style: str | None = None,
) -> Any:
    """Draws the values of one or more schedules over the steps.

    Args:
        schedules: a schedule of kerasreg or Keras, or a dict of names and schedules.
        path: a file to write the picture to, whose name ends with `.png` or `.svg`; or None
            for no file. The file replaces an older one in one step.
        steps: how many steps are drawn, a whole number >= 1. The default is a tenth more than
            the largest `length` of the schedules, or 1000 where one has no length.
        style: `"light"` or `"dark"`; None for dark where Matplotlib draws on dark paper, as
            `plt.style.use("dark_background")` has it, and else light.

    Returns:
        The Matplotlib figure, which notebooks show.

    Raises:
        ImportError: if Matplotlib is not installed, with the command that installs it.
        ValueError: if an argument is outside its range.
        OSError: if the picture cannot be written.

    Example:

    >>> from kerasreg.schedules import Linear, plot
    >>> figure = plot({"down": Linear(1.0, 0.0, 10), "up": Linear(0.0, 1.0, 10)})
    """
    if path is not None:
        check_picture(path)
    named = schedules if isinstance(schedules, Mapping) else {described(schedules): schedules}
    for schedule in named.values():
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(
                "`schedules` must be a schedule, or a dict of names and schedules. "
                f"Received: schedules={schedules!r}"
            )
    if not named:
        raise ValueError("`schedules` must not be empty. Received: schedules={}")
    if steps is None:
        lengths = [getattr(schedule, "length", None) for schedule in named.values()]
        known = [length for length in lengths if length is not None]
        all_known = len(known) == len(lengths) and max(known) > 0
        steps = math.ceil(11 * max(known) / 10) if all_known else _STEPS
    shown = np.unique(np.linspace(0, check_count("steps", steps), _POINTS).astype("int32"))

    def draw(drawn: Any, look: Look) -> None:
        axes = drawn.subplots()
        for number, (name, schedule) in enumerate(named.items()):
            # One by one where a schedule of the user's takes no more.
            try:
                values = ops.convert_to_numpy(schedule(shown))
            except Exception:
                values = np.array([float(schedule(int(step))) for step in shown])
            line = {**look.line(number), "linewidth": 2.0, "label": str(name)}
            axes.plot(shown, np.broadcast_to(values, shown.shape), **line)
        grid(axes, look)
        axes.set_xlabel("optimizer steps")
        axes.set_ylabel("value of the schedule")
        if len(named) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))  # Beside.
        else:
            axes.set_title(next(iter(map(str, named))), wrap=True)

    return drawn_to(path, "A picture of a schedule", 7.0, 4.0, draw, style)
