"""Hyperparameters that exist only beside some values of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import keras_tuner

Value = TypeVar("Value")


def when(
    hp: keras_tuner.HyperParameters,
    parent: str,
    values: Iterable[str],
    declare: Callable[[], Value],
    otherwise: Value,
) -> Value:
    """Declares a hyperparameter that is active where `parent` has one of `values`.

    It is declared also while inactive, so that an oracle knows the whole space
    after one build.

    Args:
        hp: KerasTuner's hyperparameters.
        parent: name of a choice that was declared.
        values: values of it; where there are none, nothing is declared.
        declare: declares the hyperparameter and returns its value.
        otherwise: what to return where it is not active.

    Returns:
        The value, or `otherwise`.
    """
    active = list(values)
    if not active:
        return otherwise
    with hp.conditional_scope(parent, active):
        value = declare()
    return otherwise if value is None else value
