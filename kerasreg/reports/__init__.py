"""What a search found, to look at: one HTML file, and the same as JSON and as Markdown."""

from kerasreg.reports._checks import checks
from kerasreg.reports._honesty import honest_scores
from kerasreg.reports._search import SearchReport, check_path, search_report
from kerasreg.reports._trials import trial_scores

__all__ = ["SearchReport", "check_path", "checks", "honest_scores", "search_report", "trial_scores"]
