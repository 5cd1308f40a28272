"""Methods that somebody has written anew."""

from __future__ import annotations

from typing import Any


def has_own(thing: Any, name: str, base: type) -> bool:
    """Whether a method of an object is another than that of a class.

    Args:
        thing: an object of the class, or of a subclass.
        name: the name of the method.
        base: the class.

    Returns:
        True if a subclass has another one, or the object itself has one in its attributes.
    """
    return name in vars(thing) or getattr(type(thing), name) is not getattr(base, name)
