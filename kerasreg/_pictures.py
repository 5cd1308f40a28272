"""Pictures, which are whole at every instant and need Matplotlib only when drawn."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

from kerasreg._files import write_bytes


def check_picture(path: str | os.PathLike[str]) -> str:
    """Returns how the name of a picture ends, or raises a `ValueError` that says how it may."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".png", ".svg"):
        raise ValueError(f"`path` must end with .png or .svg. Received: path={str(path)!r}")
    return ending[1:]


def figure(who: str, width: float, height: float) -> Any:
    """An empty Matplotlib figure, in inches.

    Raises:
        ImportError: if Matplotlib is not installed, saying that `who` needs it.
    """
    try:
        from matplotlib.figure import Figure  # Not pyplot, which keeps figures and a window.
    except ImportError as error:
        raise ImportError(f"{who} needs Matplotlib: pip install 'kerasreg[plot]'") from error
    return Figure(figsize=(width, height))


def drawn_to(path: str | os.PathLike[str] | None, draw: Callable[[], Any]) -> Any:
    """Draws a figure, writes it where a path is given, and returns it.

    The path is checked before anything is drawn.
    """
    if path is not None:
        check_picture(path)
    drawn = draw()
    if path is not None:
        write_figure(path, drawn)
    return drawn


def write_figure(path: str | os.PathLike[str], drawn: Any) -> None:
    """Writes a figure as the name of the file says."""
    content = io.BytesIO()
    drawn.savefig(content, format=check_picture(path), bbox_inches="tight")
    write_bytes(path, content.getvalue())
