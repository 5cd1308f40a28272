"""Pictures in one style, which are whole at every instant and need Matplotlib only when drawn.

A picture sets all its colours and sizes itself, and reads none of Matplotlib's settings but the
colour of paper: a style of the user's that is meant for other pictures cannot make it unreadable,
and a figure that a notebook draws later looks as it did when it was made.
"""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from typing import Any

from kerasreg._files import write_bytes
from kerasreg._validation import check_choice

# Colours of lines. Of those whose contrast is at least 3 to 1 with white and with the dark paper,
# they are far apart (in CIE Lab) for all eyes, those without red and green cones included;
# tests/test_pictures.py computes both.
COLOURS = ("#2d96f0", "#a54b2d", "#00a569", "#870fff", "#969600", "#a53c78")
# Lines differ in these too, for prints without colours.
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (7, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
_SIZE, _SMALL = 11.0, 9.5  # Points of titles and names, and of numbers.
_DOTS = 150  # Of an inch of a PNG.


@dataclasses.dataclass(frozen=True)
class Look:
    """The colours of a picture.

    Attributes:
        paper: what it is drawn on.
        ink: of text.
        soft: of axes, and of what is there to compare with.
        grid: of the lines of a grid.
    """

    paper: str
    ink: str
    soft: str
    grid: str

    def line(self, number: int) -> dict[str, Any]:
        """The colour and the kind of the line of a number, as Matplotlib's `plot` takes them."""
        return {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": LINES[(number + number // len(COLOURS)) % len(LINES)],
        }


LIGHT = Look("#ffffff", "#1b1f24", "#57606a", "#d0d7de")
DARK = Look("#0f1419", "#e6edf3", "#a3adb8", "#39424d")


def check_picture(path: str | os.PathLike[str]) -> str:
    """Returns how the name of a picture ends, or raises a `ValueError` that says how it may."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".png", ".svg"):
        raise ValueError(f"`path` must end with .png or .svg. Received: path={str(path)!r}")
    return ending[1:]


def look_of(style: str | None) -> Look:
    """The colours of a style; None for dark where Matplotlib's own paper is dark, as that of
    `plt.style.use("dark_background")`, and else light.
    """
    if style is not None:
        check_choice("style", style, ("light", "dark"))
        return LIGHT if style == "light" else DARK
    import matplotlib
    from matplotlib.colors import to_rgba

    *colour, alpha = to_rgba(matplotlib.rcParams["figure.facecolor"])
    return DARK if sum(colour) < 1.0 and alpha > 0.0 else LIGHT  # No paper is none that is dark.


def figure(who: str, width: float, height: float) -> Any:
    """An empty Matplotlib figure, in inches.

    Raises:
        ImportError: if Matplotlib is not installed, saying that `who` needs it.
    """
    try:
        from matplotlib.figure import Figure  # Not pyplot, which keeps figures and a window.
    except ImportError as error:
        raise ImportError(f"{who} needs Matplotlib: pip install 'kerasreg[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def drawn_to(
    path: str | os.PathLike[str] | None,
    who: str,
    width: float,
    height: float,
    draw: Callable[[Any, Look], None],
    style: str | None = None,
) -> Any:
    """Draws a figure, writes it where a path is given, and returns it.

    The arguments are checked before anything is drawn.

    Args:
        path: the file, or None.
        who: what needs Matplotlib, for the error where that is missing.
        width: in inches.
        height: in inches.
        draw: draws onto an empty figure, in the colours of a look.
        style: `"light"`, `"dark"`, or None, as for `look_of`.
    """
    if path is not None:
        check_picture(path)
    if style is not None:
        look_of(style)
    drawn = figure(who, width, height)
    look = look_of(style)
    draw(drawn, look)
    _finish(drawn, look)
    if path is not None:
        write_figure(path, drawn)
    return drawn


def _finish(drawn: Any, look: Look) -> None:
    """Gives the parts that all pictures have their colours and sizes."""
    drawn.set_facecolor(look.paper)
    texts = list(drawn.texts)
    for axes in drawn.axes:
        axes.set_facecolor("none")
        axes.title.set(color=look.ink, fontsize=_SIZE)
        for spine in axes.spines.values():
            spine.set_color(look.soft)
        for side in ("top", "right"):
            # The right one is an axis where a second scale is there.
            axes.spines[side].set_visible(axes.yaxis.get_label_position() == side)
        for axis in (axes.xaxis, axes.yaxis):
            axis.label.set(color=look.ink, fontsize=_SIZE)
            axis.set_tick_params(
                which="both", color=look.soft, labelcolor=look.ink, labelsize=_SMALL
            )
            axis.get_offset_text().set(color=look.ink, fontsize=_SMALL)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set(facecolor=look.paper, edgecolor=look.grid, alpha=0.85)
            texts += [*legend.get_texts(), legend.get_title()]
        texts += axes.texts
    for legend in drawn.legends:
        legend.get_frame().set(facecolor=look.paper, edgecolor=look.grid)
        texts += legend.get_texts()
    for text in texts:
        text.set(color=look.ink, fontsize=_SMALL)


def grid(axes: Any, look: Look, which: str = "both") -> None:
    """Draws the lines of a grid below all else."""
    axes.grid(axis=which, color=look.grid, linewidth=0.6)
    axes.set_axisbelow(True)


def write_figure(path: str | os.PathLike[str], drawn: Any) -> None:
    """Writes a figure as the name of the file says."""
    content = io.BytesIO()
    drawn.savefig(content, format=check_picture(path), facecolor=drawn.get_facecolor(), dpi=_DOTS)
    write_bytes(path, content.getvalue())
