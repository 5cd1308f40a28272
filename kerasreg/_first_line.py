"""Errors of others in one line."""

from __future__ import annotations

import re

# Colours of a terminal.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Where Keras was; what was wrong is in its next line.
_WHERE = "Exception encountered when calling "


def first_line(error: BaseException) -> str:
    """What an error says in its first line; the name of its class if it says nothing."""
    lines = [one for one in _COLOURS.sub("", str(error)).splitlines() if one.strip()]
    if len(lines) > 1 and lines[0].startswith(_WHERE):
        lines = lines[1:]
    return lines[0].strip() if lines else type(error).__name__
