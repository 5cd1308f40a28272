"""Running KerasTuner searches: failures are seen, and state survives a kill."""

from kerasreg.tuners._resume import keep_whole
from kerasreg.tuners._search import SearchFailedError, completed_trials, search

__all__ = ["SearchFailedError", "completed_trials", "keep_whole", "search"]
