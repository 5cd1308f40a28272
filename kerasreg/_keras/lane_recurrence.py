"""Recurrent layers in a form that XLA compiles for many lanes: each time step on its own.

Keras' loop over time keeps what its gradient needs in lists. Of many lanes these are lists of
lists, which XLA does not have. Without a loop there are none. Measured of a GRU of 32 units, 64
lanes, batches of 64: 8 steps take a third of the time of the loop, 16 a half, with a compilation
that 640 epochs of a lane pay for; 32 are slower than the loop. So long loops stay what they are.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from kerasreg._keras.patching import original, patched

# Loops of so many steps are unrolled.
MOST_STEPS = 8


@contextlib.contextmanager
def unrolled_recurrence() -> Iterator[list[int | None]]:
    """Takes the time steps of Keras' recurrent layers one by one while it is entered.

    For the trace of one lane, on the TensorFlow backend, and for the thread that traces.

    Yields:
        A list to which each loop that stays one adds its number of steps, which is None if it is
        not known.
    """
    from keras.src import backend

    of_keras, left = original(backend, "rnn"), list[int | None]()

    @functools.wraps(of_keras)
    def rnn(step_function: Any, inputs: Any, initial_states: Any, *args: Any, **kwargs: Any) -> Any:
        axis = 0 if kwargs.get("time_major") else 1
        steps = _first(inputs).shape[axis]
        if "unroll" not in kwargs or steps is None or steps > MOST_STEPS:
            left.append(steps)
        else:
            kwargs["unroll"] = True
        return of_keras(step_function, inputs, initial_states, *args, **kwargs)

    with patched(backend, rnn=rnn):
        yield left


def _first(inputs: Any) -> Any:
    while isinstance(inputs, (list, tuple, dict)):
        inputs = next(iter(inputs.values() if isinstance(inputs, dict) else inputs))
    return inputs
