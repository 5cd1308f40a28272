"""Errors of others in one line."""

from __future__ import annotations

import re

# Colours of a terminal.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Where Keras was; what was wrong is in its next line.
_WHERE = "Exception encountered when calling "


def first_line(error: BaseException, after: str = "") -> str:
    """What an error says in its first line; the name of its class if it says nothing.

    Args:
        error: the error.
        after: a text; where the error has it, what it says before and with it is left out.
    """
    text = (str(error).partition(after)[2] if after else "") or str(error)
    lines = [one for one in _COLOURS.sub("", text).splitlines() if one.strip()]
    if len(lines) > 1 and lines[0].startswith(_WHERE):
        lines = lines[1:]
    return lines[0].strip() if lines else type(error).__name__
