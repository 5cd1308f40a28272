"""A tuner, as a search sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import keras
import keras_tuner

from kerasreg.lanes import Lanes
from kerasreg.tuners._best_epochs import TrialWeights
from kerasreg.tuners._plan import Plan, Seen


class SearchingTuner(Protocol):
    """What a search asks of its tuner: `VectorizedTuner` says what each member is."""

    oracle: Any
    hypermodel: Any
    tuner_id: str
    project_dir: str
    executions_per_trial: int
    distribution_strategy: Any
    max_lanes: int | None
    memory_share: float
    folds: Any
    jit_compile: bool | str
    random_numbers: Literal["vectorized", "keras"]
    devices: list[str] | None
    derive_models: bool
    pad_widths: bool
    batches: Literal["shared", "own"]

    @property
    def why_no_checkpoints(self) -> str | None: ...
    @property
    def runs_own_code(self) -> bool: ...
    def builds_by_hypermodel_alone(self, hp: Any) -> bool: ...
    def pre_create_trial(self) -> None: ...
    def on_trial_begin(self, trial: Any) -> None: ...
    def on_trial_end(self, trial: Any) -> None: ...
    def keep_ended(self, trial_ids: Sequence[str], weights: Sequence[TrialWeights]) -> None: ...
    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any: ...
    def build_model(self, hp: keras_tuner.HyperParameters) -> keras.Model: ...
    def fit_arguments(
        self, trial: Any, execution: int, kwargs: dict[str, Any]
    ) -> dict[str, Any]: ...
    def on_training_end(self, plan: Plan) -> None: ...
    def on_lanes_epoch_end(self, lanes: Lanes, seen: Mapping[int, Seen]) -> None: ...
