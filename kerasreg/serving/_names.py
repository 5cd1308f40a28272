"""The names of inputs and outputs: as users know them, and as TensorFlow calls arguments."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Sequence
from typing import Any

from keras import tree

# Named by Keras, with numbers that another process would not give.
_UNNAMED = re.compile(r"(keras_tensor|input_layer|input)(_\d+)?$")


def input_names(structure: Any) -> list[str]:
    """The name of each input, in the order in which the structure is flattened.

    A dict's keys are names, and so is each path to an input within several of them, such as
    `"a_0"` for the first of a list in a dict. Inputs outside dicts have their own names, or
    `inputs`, or `inputs_0`, `inputs_1`, ..., where one of them has only a name by Keras.

    Args:
        structure: what a model is called with, of tensors.
    """
    own = [tensor.name or "input" for tensor in tree.flatten(structure)]
    unique = len(set(own)) == len(own) and not any(map(_UNNAMED.match, own))
    if unique and not _has_dict(structure):
        return own
    return _by_path(structure, "inputs")


def output_names(structure: Any, given: Sequence[str] | None) -> list[str]:
    """The name of each output, as `input_names` has them; or those that are given.

    Raises:
        ValueError: if names are given that are not one for each output.
    """
    count = len(tree.flatten(structure))
    if given is None:
        return _by_path(structure, "outputs")
    good = not isinstance(given, str) and all(
        isinstance(name, str) and name and name.isprintable() for name in given
    )
    if not good or len(given) != count or len(set(given)) != count:
        raise ValueError(
            f"`outputs` must be {count} different names, one for each output of the model. "
            f"Received: outputs={given!r}"
        )
    return list(given)


def argument_names(names: Iterable[str]) -> dict[str, str]:
    """By each name, a name that TensorFlow takes for an argument of a function.

    An argument is called by letters of ASCII, digits and `_`, begins with a letter, is no word of
    Python's, and differs from the others not only by large letters.
    """
    found: dict[str, str] = {}
    for name in names:
        argument = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not re.match("[A-Za-z]", argument) or keyword.iskeyword(argument) or argument == "self":
            argument = f"arg_{argument}"
        taken = {other.lower() for other in found.values()}
        found[name] = _free(argument, taken, str.lower)
    return found


def _has_dict(structure: Any) -> bool:
    if isinstance(structure, dict):
        return True
    return isinstance(structure, (list, tuple)) and any(map(_has_dict, structure))


def _by_path(structure: Any, root: str) -> list[str]:
    """Paths as names; what is in no dict is under `root`."""
    names: list[str] = []
    for path, _ in tree.flatten_with_path(structure):
        parts = [str(part) for part in path]
        inside = isinstance(structure, dict)
        name = "_".join(parts if inside else [root, *parts])
        names.append(_free(name or root, set(names), str))
    return names


def _free(name: str, taken: set[str], as_compared: Any) -> str:
    """A name, or the first of `name_1`, `name_2`, ... that is not taken."""
    found, number = name, 0
    while as_compared(found) in taken:
        number += 1
        found = f"{name}_{number}"
    return found
