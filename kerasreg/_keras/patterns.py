"""Patterns of names: how a user says which weights, layers or penalties of a model are meant.

A pattern is a text in which `*` stands for anything, `/` included, `?` for one character and
`[ab]` for one of these. Upper and lower case differ. A pattern matches

- a path as a whole, such as `encoder/block1/dense/kernel`;
- an end of the path, such as `dense/kernel`, and so the name, `kernel`;
- what lies in a layer that the pattern matches: `block1` or `encoder/block1` means all of that
  block. Where layers themselves are asked for, such as those that dropout goes behind, `block1`
  means the layer `block1` alone, and `block1/*` the layers within.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

Patterns = str | Sequence[str]


def check_patterns(argument: str, value: Any, fewest: int = 1) -> tuple[str, ...]:
    """Returns one pattern, or several, as a tuple.

    Args:
        argument: the name of the user's argument.
        value: the user's value.
        fewest: how many patterns there must be.

    Raises:
        ValueError: if they are no texts, or too few.

    Example:

    >>> from kerasreg._keras.patterns import check_patterns
    >>> check_patterns("layers", "block*")
    ('block*',)
    """
    patterns = (value,) if isinstance(value, str) else value
    is_list = isinstance(patterns, Sequence) and not isinstance(patterns, bytes)
    texts = tuple(patterns) if is_list else ()
    good = is_list and all(isinstance(pattern, str) and pattern for pattern in texts)
    if not good or len(texts) < fewest:
        raise ValueError(
            f"`{argument}` must be a pattern of names or several of them, such as 'block1/*'. "
            f"Received: {argument}={value!r}"
        )
    return texts


def names_of_layer(path: str) -> frozenset[str]:
    """The names that a layer is meant by: its path, and the ends of its path.

    Example:

    >>> from kerasreg._keras.patterns import names_of_layer
    >>> sorted(names_of_layer("encoder/dense"))
    ['dense', 'encoder/dense']
    """
    parts = path.split("/")
    return frozenset("/".join(parts[start:]) for start in range(len(parts)))


def names_within(path: str) -> frozenset[str]:
    """The names that a thing in layers is meant by: its own, and those of the layers around it.

    Example:

    >>> from kerasreg._keras.patterns import names_within
    >>> sorted(names_within("encoder/dense/kernel"))
    ['dense', 'dense/kernel', 'encoder', 'encoder/dense', 'encoder/dense/kernel', 'kernel']
    """
    parts = path.split("/")
    paths = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return frozenset().union(*map(names_of_layer, paths))


def matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether a pattern matches one of the names.

    Example:

    >>> from kerasreg._keras.patterns import matches, names_within
    >>> matches("block?", names_within("block1/dense/kernel"))
    True
    >>> matches("block?", names_within("blocks/dense/kernel"))
    True
    >>> matches("dense", names_within("blocks/dense_1/kernel"))
    False
    """
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def check_matches(argument: str, pattern: str, things: dict[str, frozenset[str]]) -> None:
    """Checks that a pattern means something.

    Args:
        argument: the name of the user's argument.
        pattern: a pattern.
        things: the names of each thing, by what the thing is called in the message.

    Raises:
        ValueError: if the pattern matches none of the names. It lists the things, and the
            nearest of them.

    Example:

    >>> from kerasreg._keras.patterns import check_matches, names_of_layer
    >>> check_matches("after", "dens", {"dense": names_of_layer("dense")})
    Traceback (most recent call last):
    ...
    ValueError: `after` must match one of 'dense'. Received: after='dens'; did you mean 'dense'?
    """
    if any(matches(pattern, names) for names in things.values()):
        return
    listed = ", ".join(map(repr, list(things)[:30])) + (", ..." if len(things) > 30 else "")
    known = [name for names in things.values() for name in sorted(names)]
    near = difflib.get_close_matches(pattern, [*things, *known], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"`{argument}` must match one of {listed or 'nothing, since there is none'}. "
        f"Received: {argument}={pattern!r}{hint}"
    )
