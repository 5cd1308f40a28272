"""Trains trials that share a program as lanes of it, and puts new ones in freed lanes."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from kerasreg.lanes import Replacement
from kerasreg.tuners._best_epochs import BestEpochs
from kerasreg.tuners._plan import Plan

if TYPE_CHECKING:
    from kerasreg.tuners._vectorized import VectorizedTuner


class OutOfMemory(Exception):
    """The lanes do not fit: fewer may."""


def train_together(tuner: VectorizedTuner, plans: list[Plan]) -> None:
    """Trains plans of equal keys, and more of that key as long as there are some.

    Args:
        tuner: whose oracle is asked and told.
        plans: in the end those that are not done: none, unless training
            together failed, which is warned of.

    Raises:
        OutOfMemory: if memory was not enough.
    """
    tuner._key_now = key = plans[0].key(tuner._digests)
    of_lanes: dict[int, Plan] = dict(enumerate(plans))
    own: list[BaseException] = []  # What the tuner raises is not the lanes' fault.
    best = BestEpochs(tuner.oracle.objective, len(plans))

    def on_epoch_end(epochs: list[int], logs: list[dict[str, Any]]) -> None:
        best.update(lanes, logs)
        try:
            seen = {
                lane: (of_lanes[lane], epochs[lane], of_lane)
                for lane, of_lane in enumerate(logs)
                if of_lane
            }
            ending = tuner._watch(seen)
            for lane, plan in of_lanes.items():
                gone = plan.trial.trial_id not in tuner._running
                if gone or plan.trial.trial_id in ending:
                    lanes.stopped[lane] = True
            tuner._between_epochs(lanes, seen)
            tuner._progress.update(int(sum(bool(of_lane) for of_lane in logs)))
        except Exception as error:
            own.append(error)
            raise

    def refill(ended: dict[int, Any]) -> dict[int, Replacement]:
        try:
            done = []
            for lane, history in ended.items():
                plan = of_lanes.pop(lane)
                plan.history, plan.error = history, history.error
                running = tuner._running.get(plan.trial.trial_id)
                if running is not None:
                    running.keep(*best.take(lane))
                if plan.uses_model_after_fit(tuner.hypermodel):
                    lanes.unstack(lane, slots=False)
                done.append(plan)
                plans.remove(plan)
            tuner._done(done)
            free = [lane for lane in range(len(lanes)) if lane not in of_lanes]
            found = tuner._take(key, len(free))
            if len(found) < len(free) and len(tuner._waiting) < len(lanes):
                # Of another program they wait until this one is done.
                tuner._ask(len(free) - len(found) + len(tuner._waiting))
                found += tuner._take(key, len(free) - len(found))
            of_lanes.update(zip(free, found, strict=False))
            plans.extend(found)
            successors = {}
            for lane, plan in zip(free, found, strict=False):
                rows, validation_rows = plan.rows or (None, None)
                first, last = plan.epochs()
                successors[lane] = Replacement(
                    plan.model,
                    plan.callbacks(),
                    rows=rows,
                    validation_rows=validation_rows,
                    epochs=last,
                    initial_epoch=first,
                    structure=plan.structure,
                )
            return successors
        except Exception as error:
            own.append(error)
            raise

    more: dict[str, Any] = {}
    if plans[0].rows is not None:
        every = [plan.rows for plan in plans if plan.rows is not None]
        more = {"rows": [r[0] for r in every], "validation_rows": [r[1] for r in every]}
    try:
        lanes = tuner._ahead.take(plans)
        lanes.fit(
            **plans[0].common_arguments(),
            **more,
            epochs=[plan.epochs()[1] for plan in plans],
            initial_epoch=[plan.epochs()[0] for plan in plans],
            callbacks=[plan.callbacks() for plan in plans],
            seed=tuner.oracle.seed,
            on_epoch_end=on_epoch_end,
            refill=refill,
        )
    except Exception as error:
        if own:
            raise
        if _is_out_of_memory(error) and len(plans) > 1:
            raise OutOfMemory from error
        warnings.warn(
            f"{len(plans)} trials could not be trained together and are trained one by "
            f"one: {error!r}",
            stacklevel=5,
        )
    finally:
        tuner._key_now = None


def _is_out_of_memory(error: BaseException) -> bool:
    # TensorFlow's error, JAX's, and Python's.
    known = type(error).__name__ == "ResourceExhaustedError" or isinstance(error, MemoryError)
    return known or "RESOURCE_EXHAUSTED" in str(error)
