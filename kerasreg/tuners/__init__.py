"""KerasTuner searches: many trials at a time; failures are seen; state survives a kill."""

from kerasreg.tuners._artifacts import check_artifacts
from kerasreg.tuners._crash_safe import crash_safe
from kerasreg.tuners._initial_settings import AdaptedSetting, adapt_setting
from kerasreg.tuners._lane_report import LaneReport, LaneRow, TrainedTrial
from kerasreg.tuners._out_of_fold import OutOfFold
from kerasreg.tuners._population import PopulationBasedTraining
from kerasreg.tuners._progress import expected_trials, trials_left
from kerasreg.tuners._regularization_path import (
    PathPoint,
    RegularizationPath,
    regularization_path,
)
from kerasreg.tuners._run_search import SearchFailedError, completed_trials, run_search
from kerasreg.tuners._searches import (
    VectorizedBayesianOptimization,
    VectorizedGridSearch,
    VectorizedHyperband,
    VectorizedRandomSearch,
)
from kerasreg.tuners._selection import (
    Selection,
    SettingScore,
    ShrunkenScores,
    shrunken_scores,
)
from kerasreg.tuners._standard_error import standard_error
from kerasreg.tuners._stop import SearchStopped
from kerasreg.tuners._study_oracle import StudyOracle
from kerasreg.tuners._study_search import VectorizedStudySearch
from kerasreg.tuners._trial_ensembles import EnsembleMember, EnsembleSelection
from kerasreg.tuners._vectorized import VectorizedTuner

__all__ = [
    "AdaptedSetting",
    "EnsembleMember",
    "EnsembleSelection",
    "LaneReport",
    "LaneRow",
    "OutOfFold",
    "PathPoint",
    "PopulationBasedTraining",
    "RegularizationPath",
    "SearchFailedError",
    "SearchStopped",
    "Selection",
    "SettingScore",
    "ShrunkenScores",
    "StudyOracle",
    "TrainedTrial",
    "VectorizedBayesianOptimization",
    "VectorizedGridSearch",
    "VectorizedHyperband",
    "VectorizedRandomSearch",
    "VectorizedStudySearch",
    "VectorizedTuner",
    "adapt_setting",
    "check_artifacts",
    "completed_trials",
    "crash_safe",
    "expected_trials",
    "regularization_path",
    "run_search",
    "shrunken_scores",
    "standard_error",
    "trials_left",
]
