"""Whether trials are better ended by their scores, or by what they add to the ensemble.

Usage: python benchmarks/pruning.py [SEARCHES] [--json=FILE]

Small models are trained in five folds with data that are drawn (`_simulated_search.py`). Sixteen
trials run side by side for 3 epochs, the half of them that is kept for 5 more, and of these the
half for 16 more: four times, so that each way of keeping has equal steps. `score` keeps the trials
with the best scores. `value` keeps those whose present predictions out of fold add most to the
ensemble that is chosen greedily from all that is there: by how much the loss rises without them,
or falls with them. `both` keeps the better half of what is kept by the score, and the rest by the
value. Beside these are as many epochs without pruning, and all trials to the end. Printed: the loss
on new samples of the ensemble that is chosen from all trials at their best epochs so far, as the
mean difference from `score` in parts of its loss, with the standard error. Less is better.
"""

import sys

import numpy as np
from _results import recording, slug
from _simulated_search import score, trained

ROUNDS, LANES, ENDS, STEPS = 4, 16, (3, 8, 24), 40
WAYS = ("score", "value", "both", "unpruned", "to the end")


def greedy(predicted, targets, metric, steps=STEPS):
    """The shares of predictions in a mean that is to score well."""
    total, order, losses = np.zeros(len(targets)), [], []
    for count in range(1, steps + 1):
        found = _losses(metric, targets, (total + predicted) / count)
        order.append(int(np.argmin(found)))
        losses.append(found[order[-1]])
        total = total + predicted[order[-1]]
    kept = order[: int(np.argmin(losses)) + 1]
    return np.bincount(kept, minlength=len(predicted)) / len(kept)


def _losses(metric, targets, many):
    if metric == "rmse":
        return np.sqrt(((many - targets) ** 2).mean(axis=1))
    right = np.clip(np.where(targets == 1, many, 1 - many), 1e-7, 1.0)
    return -np.log(right).mean(axis=1)


def values(predicted, targets, metric, which):
    """What some trials add to the ensemble of all."""
    shares = greedy(predicted, targets, metric, 20)
    mean = shares @ predicted
    now = score(metric, targets, mean)
    found = []
    for k in which:
        if shares[k] == 1:
            found.append(np.inf)
        elif shares[k]:
            without = (mean - shares[k] * predicted[k]) / (1 - shares[k])
            found.append(score(metric, targets, without) - now)
        else:
            more = np.array([(1 - part) * mean + part * predicted[k] for part in (0.02, 0.05, 0.1)])
            found.append(now - _losses(metric, targets, more).min())
    return np.array(found)


def ends_of(made, way):
    """How many epochs each trial has."""
    count = made.predicted.shape[1]
    ends = np.zeros(count, int)
    if way == "to the end":
        return ends + ENDS[-1]
    if way == "unpruned":
        epochs = sum(LANES // 2**k * (end - ([0, *ENDS][k])) for k, end in enumerate(ENDS))
        ends[: ROUNDS * epochs // ENDS[-1]] = ENDS[-1]
        return ends
    mean = made.curves.mean(axis=2)
    for begin in range(0, count, LANES):
        running = np.arange(begin, begin + LANES)
        for end in ENDS[:-1]:
            ends[running] = end
            there = np.flatnonzero(ends)
            scores = np.array([mean[: ends[k], k].min() for k in running])
            wanted = len(running) // 2
            kept = list(running[np.argsort(scores, kind="stable")])
            kept = kept[: {"score": wanted, "value": 0, "both": wanted // 2}[way]]
            if way != "score":
                best = _best(mean, ends, there)
                present = made.predicted[best, there]
                places = np.searchsorted(there, running)
                adds = values(present, made.targets, made.metric, places)
                order = running[np.argsort(-adds, kind="stable")]
                kept += [k for k in order if k not in kept][: wanted - len(kept)]
            running = np.sort(kept)
        ends[running] = ENDS[-1]
    return ends


def _best(mean, ends, there):
    return np.array([mean[: ends[k], k].argmin() for k in there])


def loss_of(made, way):
    """The loss on new samples of the ensemble that a search with such pruning ends with."""
    ends, mean = ends_of(made, way), made.curves.mean(axis=2)
    there = np.flatnonzero(ends)
    best = np.zeros(len(ends), int)
    best[there] = _best(mean, ends, there)
    shares = greedy(made.predicted[best[there], there], made.targets, made.metric)
    return score(made.metric, made.new_targets, shares @ made.new(best)[there])


def main(results):
    searches = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print(f"{searches} searches for each line")
    print(f"{'metric':>9} {'rows':>5} {'score':>7}" + "".join(f"{way:>20}" for way in WAYS[1:]))
    for metric in ("log loss", "rmse"):
        for rows in (200, 1000):
            rng, found = np.random.default_rng(0), []
            for _ in range(searches):
                made = trained(rng, rows, metric, False, ROUNDS * LANES, ENDS[-1])
                found.append([loss_of(made, way) for way in WAYS])
            each = np.array(found)
            parts = each[:, 1:] / each[:, :1] - 1
            line = f"{metric:>9} {rows:5} {each[:, 0].mean():7.4f}"
            for way, of in zip(WAYS[1:], parts.T, strict=True):
                middle, error = of.mean(), of.std(ddof=1) / np.sqrt(searches)
                results.add(
                    f"{slug(metric)}.{rows}_rows.{slug(way)}",
                    middle,
                    f"{metric} of the ensemble with pruning by {way}, {rows} rows, as the part by "
                    "which it is more than with pruning by the score",
                    middle - error,
                    middle + error,
                    "standard error",
                )
                line += f"{100 * middle:+10.2f} ±{100 * error:5.2f} %"
            print(line, flush=True)


if __name__ == "__main__":
    with recording() as results:
        main(results)
