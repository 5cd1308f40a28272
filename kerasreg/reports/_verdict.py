"""What a search found, in sentences."""

from __future__ import annotations

from typing import Any

from kerasreg.reports._words import count, name, number, with_error

# A difference of fewer standard errors is not told from noise.
_CLEAR = 2.0
WHAT = {
    "winner": "the best setting alone",
    "baseline": "the best setting without regularization",
    "linear": "a linear model",
}


def verdict(report: Any) -> list[str]:
    """The sentences of a `SearchReport`."""
    done = len(report.ranking)
    if not done:
        return ["No trial has completed."]
    # In the units of the test part, which are those of the data.
    unit = (report.test or {}).get("unit") or 1.0
    metric = report.objective["name"]
    metric = name(metric if unit == 1.0 else metric.removeprefix("val_"))
    found = [*_test(report.test)] if report.test else []
    ensemble = report.ensemble
    members = len(ensemble["members"]) if ensemble else 0
    which = f"The ensemble of {count(members, 'trial')}"
    if ensemble and members == 1:
        which = f"The best ensemble, which is trial {name(ensemble['members'][0]['trial'])} alone,"
    if ensemble and ensemble["expected_score"] is not None:
        expected = with_error(unit * ensemble["expected_score"], unit * ensemble["standard_error"])
        found.append(
            f"{which} is expected to have a "
            f"{name(ensemble['metric'])} of {expected} for samples by which nothing was chosen; "
            f"the best trial alone, {name(ensemble['best_trial'])}, has "
            f"{number(unit * ensemble['best_score'])} where it was found to be the best, which is "
            "too good."
        )
    elif ensemble:
        found.append(
            f"{which} has a {name(ensemble['metric'])} of {number(unit * ensemble['score'])} "
            "where its trials were chosen, which is too good; there were too few samples to say "
            "what is to be expected."
        )
    best = next(row for row in report.trials if row["trial"] == report.ranking[0])
    if best["shrunken"] is not None:
        error = best["shrunken_error"]
        estimate = with_error(unit * best["shrunken"], None if error is None else unit * error)
        found.append(
            f"The best setting is that of trial {name(best['trial'])}: its {metric} is "
            f"{number(unit * best['score'])} in the search, and is estimated at {estimate} where "
            "the luck of the best of many is taken off."
        )
    else:
        found.append(
            f"The best setting is that of trial {name(best['trial'])}: its {metric} is "
            f"{number(unit * best['score'])} in the search. The best of many looks better than it "
            "is."
        )
    if unit != 1.0:
        found.append(
            f"Below, the {name(report.objective['name'])} of trials is in standard deviations of "
            f"the target: 1 there is {number(unit)} here."
        )
    failed = sum(row["status"] in ("FAILED", "INVALID") for row in report.trials)
    left = len(report.trials) - failed - done
    found.append(
        f"{count(done, 'trial')} completed"
        + (f", {failed} failed" if failed else "")
        + (f", {left} without a score or not at an end" if left else "")
        + "."
    )
    return found


def _test(test: dict[str, Any]) -> list[str]:
    metric, reference = test["metric"], test["reference"]
    models = {model["name"]: model for model in test["models"]}
    if reference not in models:
        return []
    rows = f" of {count(test['rows'], 'row')}" if test.get("rows") else ""
    found = [
        f"On the test part{rows}, which nothing has seen, the {name(reference)} has a "
        f"{name(metric)} of {number(models[reference]['scores'].get(metric))}."
    ]
    for model in test["models"]:
        difference, error = model["difference"], model["standard_error"]
        if model["name"] == reference or difference is None:
            continue
        what = WHAT.get(model["name"], name(model["name"]))
        # Of log loss and of RMSE, less is better.
        if not difference:
            told = "no difference"
        elif error is None:
            told = "the noise of the difference is not known"
        elif abs(difference) < _CLEAR * error:
            told = "no clear difference"
        else:
            told = f"the {name(reference)} is {'better' if difference > 0 else 'worse'}"
        found.append(
            f"{what[0].upper()}{what[1:]} has {number(model['scores'].get(metric))}, a difference "
            f"of {with_error(difference, error, '+')}: {told}."
        )
    return found
