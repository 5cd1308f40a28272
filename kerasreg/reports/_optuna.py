"""The trials of a search as an Optuna study, for its dashboard and its pictures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

# KerasTuner's words for what Optuna calls so.
_STATES = {"COMPLETED": "COMPLETE", "FAILED": "FAIL", "INVALID": "FAIL"}
# Who ends trials that promise little; the end of the time is none of these.
_PRUNERS = ("pruner", "oracle")


def study_of(report: Any, storage: Any, study_name: str | None) -> Any:
    """The study of a `SearchReport`: `SearchReport.to_study` says what it holds."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError("A study needs Optuna: pip install 'kerasreg[optuna]'") from error
    verbosity = optuna.logging.get_verbosity()
    # It announces each study, which is what is asked for here.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=report.title if study_name is None else study_name,
            direction="maximize" if report.objective["direction"] == "max" else "minimize",
            load_if_exists=True,
        )
        study.set_user_attr("objective", report.objective["name"])
        known = {one.user_attrs.get("trial_id") for one in study.get_trials(deepcopy=False)}
        curves = {one["trial"]: one for one in (report.curves or {"trials": ()})["trials"]}
        kinds = {one["name"]: _distribution(one, report) for one in report.hyperparameters}
        for row in report.trials:
            if row["status"] in _STATES and row["trial"] not in known:
                study.add_trial(_trial(row, curves.get(row["trial"]), kinds))
    finally:
        optuna.logging.set_verbosity(verbosity)
    return study


def _trial(
    row: Mapping[str, Any], curve: Mapping[str, Any] | None, kinds: Mapping[str, Any]
) -> Any:
    import optuna

    score, state = row["score"], _STATES[row["status"]]
    if state == "COMPLETE" and score is None:
        state = "FAIL"
    elif state == "COMPLETE" and row.get("stopped") in _PRUNERS:
        state = "PRUNED"
    params, distributions = {}, {}
    for name, value in row["values"].items():
        if name in kinds:
            distributions[name] = kinds[name]
            whole = isinstance(kinds[name], optuna.distributions.IntDistribution)
            params[name] = int(value) if whole else value
    told = {
        "trial_id": row["trial"],
        "best_epoch": row["best_epoch"],
        "standard_error": row["standard_error"],
        "stopped": row.get("stopped"),
        "message": row["message"],
        **row["metrics"],
    }
    values = curve["validation"] if curve is not None else []
    epochs = curve["epochs"] if curve is not None else []
    trial = optuna.trial.create_trial(
        state=optuna.trial.TrialState[state],
        value=None if state == "FAIL" else score,
        params=params,
        distributions=distributions,
        user_attrs={name: value for name, value in told.items() if value is not None},
        intermediate_values={
            epoch: value for epoch, value in zip(epochs, values, strict=True) if value is not None
        },
    )
    if row.get("began") and row.get("ended"):
        # As Optuna writes them: the time of the place, without its zone.
        trial.datetime_start = datetime.datetime.fromtimestamp(row["began"])
        trial.datetime_complete = datetime.datetime.fromtimestamp(row["ended"])
    return trial


def _distribution(one: Mapping[str, Any], report: Any) -> Any:
    """What the values of a hyperparameter were drawn from, with all values that trials have."""
    from optuna import distributions

    found = [row["values"][one["name"]] for row in report.trials if one["name"] in row["values"]]
    space = one.get("space") or {}
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in found)
    if space.get("values") or space.get("kind") in ("Boolean", "Fixed") or not numbers:
        choices = list(space.get("values") or ())
        choices += [False, True] if space.get("kind") == "Boolean" else []
        # `1` and `True` are equal, and two choices.
        distinct = {(type(each), each): each for each in [*choices, *found]}
        return distributions.CategoricalDistribution(list(distinct.values()))
    low = min([*found, *([space["low"]] if space.get("low") is not None else [])])
    high = max([*found, *([space["high"]] if space.get("high") is not None else [])])
    log = space.get("sampling") == "log" and low > 0
    if space.get("kind") == "Int" and all(float(each).is_integer() for each in (low, high)):
        step = int(space.get("step") or 1) if not log else 1
        if any((each - low) % step for each in found):
            step = 1
        high = low + (high - low) // step * step
        return distributions.IntDistribution(int(low), int(high), log=log, step=step)
    return distributions.FloatDistribution(float(low), float(high), log=log)
