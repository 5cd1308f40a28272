"""The scores of what was chosen, each with the reason to trust it or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kerasreg.reports._trials import finite


def honest_scores(
    metric: str,
    trials: int,
    trial: Mapping[str, Any] | None = None,
    ensemble: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The rows of `SearchReport.honesty`, from the score that flatters most.

    Args:
        metric: the name of the objective.
        trials: how many trials there were to choose from.
        trial: of the chosen one its name as `trial`, its `score` in the search, `shrunken` and
            `shrunken_error`, and `confirmed`: its score when it was trained again; None where not
            known.
        ensemble: as `SearchReport.ensemble`.

    Returns:
        A dictionary for each score that is known.

    Example:

    >>> import kerasreg
    >>> chosen = {"trial": "3", "score": 0.1, "shrunken": 0.2, "shrunken_error": 0.05}
    >>> for row in kerasreg.reports.honest_scores("val_loss", 40, chosen):
    ...     print(row["what"], row["score"])
    trial 3 in the search 0.1
    trial 3, shrunken 0.2
    """
    rows: list[tuple[str, str, Any, Any, str]] = []
    if trial is not None:
        name = f"trial {trial['trial']}"
        luck = f"too good: one of the best of {trials} was taken, and luck was taken with it"
        again = "on new folds or with other random numbers, after it was among the best"
        shrunken = "an estimate for new folds, with luck taken off"
        rows += [
            (f"{name} in the search", metric, trial["score"], None, luck),
            (f"{name}, trained again", metric, trial.get("confirmed"), None, again),
            (f"{name}, shrunken", metric, trial["shrunken"], trial["shrunken_error"], shrunken),
        ]
    if ensemble is not None:
        chosen = "too good: these samples chose its trials"
        elsewhere = (
            "to be expected: of five parts of the samples each was scored by what the others chose"
        )
        expected, error = ensemble["expected_score"], ensemble["standard_error"]
        its = ensemble["metric"]
        rows += [
            ("the ensemble where its trials were chosen", its, ensemble["score"], None, chosen),
            ("the ensemble elsewhere", its, expected, error, elsewhere),
        ]
    return [
        {
            "what": what,
            "metric": of,
            "score": finite(score),
            "standard_error": finite(error),
            "note": note,
        }
        for what, of, score, error, note in rows
        if finite(score) is not None
    ]
