"""Files of an earlier search that are damaged: what they held is done again."""

from __future__ import annotations

import os
from typing import Any

from kerasreg._keras import keras_tuner_internals as internals
from kerasreg._warnings import warn
from kerasreg.tuners import _best_epochs, _learning_curves, _search_log
from kerasreg.tuners._crash_safe import StateFiles
from kerasreg.tuners._study_oracle import StudyOracle


def mend(tuner: Any, files: StateFiles) -> None:
    """Says which files of an earlier search are damaged, and has done again what they held.

    Args:
        tuner: the tuner of the project.
        files: its state files.
    """
    oracle = tuner.oracle
    for read in (_learning_curves, _search_log):
        if (lost := read.damage(tuner.project_dir)) is not None:
            warn(lost)
    damaged, kept = _best_epochs.set_damaged_aside(tuner.project_dir)
    if not damaged:
        return
    lost_trials = [
        trial_id
        for trial_id, trial in oracle.trials.items()
        if trial.status == "COMPLETED"
        and trial_id not in kept
        and not os.path.exists(internals.checkpoint_path(tuner, trial_id))
    ]
    what = "begin again"
    if isinstance(oracle, StudyOracle):
        what = "keep their results, and are in no ensemble"  # A study's trial ends once.
    else:
        files.give_again(lost_trials)
    for why in damaged:
        warn(f"{why} Of {len(lost_trials)} trials there are no weights any more: they {what}.")
