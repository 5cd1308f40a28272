"""How far a search was when its report was made, in words."""

from __future__ import annotations

from typing import Any

from kerasreg.reports._words import count


def progress_words(report: Any) -> str | None:
    """Whether the search of a `SearchReport` still ran, and how far it was; None if unknown."""
    found = report.progress
    if found is None:
        return None
    ended, expected = found["ended"], found["expected"]
    of = f"{ended} of {count(expected, 'trial')}" if expected else count(ended, "trial")
    have = "has" if ended == 1 and not expected else "have"
    at = f" at {_minute(found['written'])}" if found.get("written") else ""
    if found["state"] == "running":
        now = f", {count(found['running'], 'trial')} in training" if found["running"] else ""
        return (
            f"The search was still running when this was written{at}: {of} {have} ended{now}. "
            "What is below changes until the end; load the file again to see more."
        )
    if found["state"] == "stopped":
        return (
            f"The search was interrupted, or stopped by an error{at}: {of} {have} ended. "
            "It can be resumed."
        )
    if found["state"] == "unfinished":
        return f"The search has not finished: {of} {have} ended. It runs, or was cut off."
    return f"The search has finished{at}: {of} {have} ended."


def _minute(written: str) -> str:
    """A time of ISO 8601, to the second, as people read it."""
    return written[:19].replace("T", " ") + " UTC"
