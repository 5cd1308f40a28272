"""Errors of others in one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """What an error says in its first line; the name of its class if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
