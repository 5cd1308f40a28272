"""How much too good the best setting of a search looks, and what is left of that when shrunken.

Usage: python benchmarks/selection.py [SEARCHES] [--ensembles] [--json=FILE]

Searches are simulated: each setting has a true score, folds have an effect that is common to all
settings, and noise of standard deviation 1 is added. The setting with the best score is chosen. For
each regime the table has the bias of what is reported of it, larger than 0 where it is too good:
the mean of its folds, and the shrunken score with the standard error of the simulation; the
standard error that is reported; and how much worse the chosen setting is than the best one. The
last two columns are the bias and that loss when the 5 leading settings are measured again, in as
many new folds, and one of these is chosen, as `tuner.confirm` does.

With `--ensembles`, which takes most of an hour, the table is of ensembles. Small models are trained
in five folds, with data that are drawn, and an ensemble is chosen as `tuner.select_ensemble` does.
The table has by how much three scores are too good, beside that of the same models on new samples:
the one where the ensemble was chosen; the one of samples that the choice of trials did not see, but
that of epochs did; and the expected score, with the standard error of the simulation. In the last
two columns are the mean of the reported standard error, and the standard deviation of the
difference.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from _results import recording, slug
from _simulated_search import METRICS, ensemble_of, like, searched

from kerasreg import tuners

LEADING = 5
NAMES = {
    "equal": lambda rng, count: np.zeros(count),
    "normal, spread 0.3": lambda rng, count: 0.3 * rng.normal(size=count),
    "normal, spread 1": lambda rng, count: rng.normal(size=count),
    "normal, spread 3": lambda rng, count: 3.0 * rng.normal(size=count),
    # As in spaces in which many choices lose.
    "40 % far worse": lambda rng, count: np.where(
        rng.random(count) < 0.4, -5.0 * rng.random(count), 0.3 * rng.normal(size=count)
    ),
    "exponential": lambda rng, count: -rng.exponential(size=count),
}


def simulate(draw, count, folds, searches, of_folds=1.0):
    """The means over searches, and after the second one its standard error."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(searches):
        truth = draw(rng, count)
        noise = rng.normal(size=(count, folds))
        scores = truth[:, None] + of_folds * rng.normal(size=folds) + noise
        shrunken = tuners.shrunken_scores(scores, "max")
        best = shrunken.best()
        row = shrunken[best]
        leading = shrunken.ranking()[:LEADING]
        again = np.full(scores.shape, np.nan)
        noise = rng.normal(size=(len(leading), folds))
        again[leading] = truth[leading][:, None] + of_folds * rng.normal(size=folds) + noise
        both = tuners.shrunken_scores(np.hstack([scores, again]), "max")
        last = both.best(among=leading)
        found.append(
            (
                row.mean - truth[best],
                row.shrunken - truth[best],
                row.shrunken_error,
                truth.max() - truth[best],
                both[last].shrunken - truth[last],
                truth.max() - truth[last],
            )
        )
    each = np.array(found)
    naive, reported, *others = each.mean(axis=0)
    return naive, reported, each[:, 1].std(ddof=1) / np.sqrt(searches), *others


def simulate_ensembles(rows, metric, alike, searches):
    """How much too good scores of an ensemble are, in each search, and the reported error."""
    rng, model, found = np.random.default_rng(0), like(), []
    sign = 1.0 if metric == "accuracy" else -1.0
    for _ in range(searches):
        predicted, truth = searched(rng, rows, metric, alike)
        chosen, shares = ensemble_of(predicted, metric, model)
        known, _ = ensemble_of(predicted._replace(apart=()), metric, model)
        told = chosen.score, known.expected_score, chosen.expected_score
        found.append([*(sign * (one - truth(shares)) for one in told), chosen.standard_error])
    return np.array(found)


def ensembles(results, searches):
    print(
        f"{'ensembles of trials':20} {'metric':>9} {'rows':>5} {'chosen':>7} {'crossed':>7} "
        f"{'expected':>8} {'(±)':>6} {'reported error':>14} {'deviation':>9}"
    )
    for alike in (False, True):
        kind = "that hardly differ" if alike else "that differ"
        for metric in METRICS:
            for rows in (60, 90, 200, 1000):
                each = simulate_ensembles(rows, metric, alike, searches)
                chosen, known, expected, error = each.mean(axis=0)
                deviation = each[:, 2].std(ddof=1)
                of_simulation = deviation / np.sqrt(searches)
                what = f"{metric} of an ensemble of trials {kind}, {rows} rows"
                of = f"ensemble.{slug(kind)}.{slug(metric)}.{rows}_rows"
                results.add(f"{of}.chosen", chosen, f"bias, where it was chosen, of the {what}")
                results.add(
                    f"{of}.expected",
                    expected,
                    f"bias of the expected {what}",
                    expected - of_simulation,
                    expected + of_simulation,
                    "standard error",
                )
                print(
                    f"{kind:20} {metric:>9} {rows:5} {chosen:7.4f} {known:7.4f} {expected:8.4f} "
                    f"{of_simulation:6.4f} {error:14.4f} {deviation:9.4f}",
                    flush=True,
                )


def main(results):
    given = [one for one in sys.argv[1:] if one != "--ensembles"]
    searches = int(given[0]) if given else 500
    print(f"{searches} searches for each line")
    (ensembles if "--ensembles" in sys.argv else settings)(results, searches)


def settings(results, searches):
    print(
        f"{'settings':20} {'number':>6} {'folds':>5} {'mean':>7} {'shrunken':>8} {'(±)':>6} "
        f"{'reported error':>14} {'loss':>6} {'again':>6} {'loss':>6}"
    )
    for name, draw in NAMES.items():
        for count in (10, 100):
            for folds in (2, 5, 25):
                naive, reported, of_simulation, error, loss, again, last = simulate(
                    draw, count, folds, searches
                )
                what = (
                    f"of the best of {count} settings, {name}, {folds} folds, in noises of a fold"
                )
                of = f"{slug(name)}.{count}_settings.{folds}_folds"
                results.add(f"{of}.mean", naive, f"bias of the mean {what}")
                results.add(
                    f"{of}.shrunken",
                    reported,
                    f"bias of the shrunken score {what}",
                    reported - of_simulation,
                    reported + of_simulation,
                    "standard error",
                    headline=(count, folds) == (100, 5),
                )
                print(
                    f"{name:20} {count:6} {folds:5} {naive:7.3f} {reported:8.3f} "
                    f"{of_simulation:6.3f} {error:14.3f} {loss:6.3f} {again:6.3f} {last:6.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    with recording() as results:
        main(results)
