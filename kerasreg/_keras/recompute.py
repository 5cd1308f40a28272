"""Whether a call is evaluated a second time, for its gradient.

`tf.recompute_grad`, and so Keras' `RematScope` on TensorFlow, calls a function
again in the backward pass instead of keeping what it computed. What counts calls
must not count that one, and must give what it gave the first time. TensorFlow
offers no question for this, so the Python stack answers it: only while a program
is traced, or in eager execution. JAX replays a recorded program and asks nothing.
"""

from __future__ import annotations

from typing import Any

from kerasreg._keras.tensorflow_internals import recomputed_calls


class Recomputations:
    """What was given in calls that may be evaluated again.

    `first()` answers what this very use was given before, if this is a
    recomputation; `record()` keeps what it is given now.
    """

    def __init__(self) -> None:
        # By the identity of a call's arguments, which TensorFlow keeps for as long
        # as it may recompute the call: what each use in it was given, in order.
        self._given: dict[int, list[Any]] = {}
        self._next: dict[int, int] = {}

    def first(self) -> Any:
        """What this use was given in the first evaluation, or None."""
        if not self._given:
            return None
        for again, call in recomputed_calls():
            if again and self._given.get(call):
                index = self._next.get(call, 0)
                # A persistent tape may recompute more than once.
                self._next[call] = (index + 1) % len(self._given[call])
                given = self._given[call][index]
                self.record(given)
                return given
        return None

    def record(self, given: Any) -> None:
        """Keeps what a use is given, for each call around it that is evaluated first."""
        for again, call in recomputed_calls():
            if again:
                return  # The calls around this one have it from their own first evaluation.
            self._given.setdefault(call, []).append(given)
