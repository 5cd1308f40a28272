"""Whether searches of tables would do better to begin with settings that did well on others.

Usage: pip install -r requirements-tables.txt
       python benchmarks/portfolio.py [--tables=attrition,...] [--settings=24] [--done=FOLDER]

On each table of benchmarks/tables.py, the same random settings of `TableHyperModel` are searched in
five folds of the training part of seed 1; what their models predict out of fold is kept in a
folder, and not computed again. Of each task, classification and regression, a portfolio is chosen
greedily: the next setting is the one with which the ensemble of what is chosen has the least error
on average over the tables, relative to the ensemble of all settings there.

For each table a portfolio is chosen by the others of its task, and stands beside as many random
settings, mean of twenty draws: the error of their ensemble and of their best setting, over that of
the ensemble of all settings. Where a portfolio has no less error than random settings, a search
need not begin with one.
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

import numpy as np
from _results import recording

ROOT = pathlib.Path(__file__).parents[1]
SEED, FOLDS = 1, 5
SIZES, DRAWS = (4, 8, 16), 20
# Steps of the greedy ensembles by which portfolios are compared.
STEPS = 10


def searched(name, settings):
    """What random settings predict out of fold on a table: an archive's arrays."""
    import tables as benchmark

    import kerasreg

    task = benchmark.Task(name, SEED)
    hypermodel = task.hypermodel(len(task.x) * (FOLDS - 1) // FOLDS, None)
    with tempfile.TemporaryDirectory() as directory:
        tuner = kerasreg.tuners.VectorizedRandomSearch(
            hypermodel,
            hypermodel.objective,
            max_trials=settings,
            folds=FOLDS,
            batches="own",
            seed=SEED,
            directory=directory,
        )
        tuner.search(
            task.x,
            task.y,
            epochs=hypermodel.epochs,
            batch_size=hypermodel.batch_size,
            verbose=0,
        )
        found = tuner.out_of_fold()
        values = [dict(tuner.oracle.trials[one].hyperparameters.values) for one in found.trial_ids]
    order = np.argsort(found.trial_ids)
    return {
        "settings": np.array([json.dumps(values[k], sort_keys=True) for k in order]),
        "predictions": np.array([found.predictions[k] for k in order], "float32"),
        "targets": found.targets,
        "is_class": np.array(task.is_class),
    }


def errors(predictions, targets, is_class):
    """The error of each of many predictions: log loss, or the root of the mean squared error."""
    if is_class:
        rows = np.arange(len(targets))
        return -np.log(np.clip(predictions[:, rows, targets.astype(int)], 1e-7, 1)).mean(axis=1)
    return np.sqrt(np.mean((predictions.reshape(len(predictions), -1) - targets.ravel()) ** 2, 1))


class Pool:
    """The settings of a table, with what they predict."""

    def __init__(self, archive):
        self.settings = [json.loads(text) for text in archive["settings"]]
        self.is_class = bool(archive["is_class"])
        self._predictions = archive["predictions"].astype("float64")
        self._targets = archive["targets"]
        self.alone = errors(self._predictions, self._targets, self.is_class)
        self.of_all = self.of_ensemble(range(len(self.settings)))

    def of_ensemble(self, chosen):
        """The error of the greedy ensemble of some settings."""
        each = self._predictions[list(chosen)]
        total, least = np.zeros(each.shape[1:]), np.inf
        for count in range(1, STEPS + 1):
            found = errors((total + each) / count, self._targets, self.is_class)
            best = int(np.argmin(found))
            total += each[best]
            least = min(least, float(found[best]))
        return least

    def cost(self, chosen):
        """The logarithm of the ensemble's error over that of all settings."""
        return float(np.log(self.of_ensemble(chosen) / self.of_all))


def portfolio(pools, size):
    """The numbers of settings, chosen one after another; a tie takes the earlier one.

    Args:
        pools: one or more `Pool`, all of the same settings in the same order.
        size: how many are chosen, at most all.
    """
    chosen = []
    left = list(range(len(pools[0].settings)))
    while left and len(chosen) < size:
        costs = [statistics.mean(pool.cost([*chosen, one]) for pool in pools) for one in left]
        chosen.append(left.pop(int(np.argmin(costs))))
    return chosen


def show(pools, results):
    """Prints what a portfolio is worth on tables that it was not chosen by."""
    generator = np.random.default_rng(0)
    print(f"{'':16}{'':>6}{'ensemble of':>22}{'best setting of':>22}")
    print(
        f"{'left out':16}{'size':>6}{'portfolio':>12}{'random':>10}{'portfolio':>12}{'random':>10}"
    )
    rows = []
    for name, pool in pools.items():
        others = [
            of for other, of in pools.items() if other != name and of.is_class == pool.is_class
        ]
        if not others:
            continue
        chosen = portfolio(others, max(SIZES))
        for size in (size for size in SIZES if size <= len(chosen)):
            draws = [
                generator.choice(len(pool.settings), size, replace=False) for _ in range(DRAWS)
            ]
            row = [
                np.exp(pool.cost(chosen[:size])),
                statistics.mean(np.exp(pool.cost(one)) for one in draws),
                pool.alone[chosen[:size]].min() / pool.of_all,
                statistics.mean(pool.alone[one].min() / pool.of_all for one in draws),
            ]
            rows.append((size, row))
            print(f"{name:16}{size:>6}{row[0]:>12.3f}{row[1]:>10.3f}{row[2]:>12.3f}{row[3]:>10.3f}")
    for size in sorted({size for size, _ in rows}):
        of_size = np.log([row for other, row in rows if other == size])
        means = np.exp(of_size.mean(axis=0))
        cells = "".join(
            f"{of:>{width}.3f}" for of, width in zip(means, (12, 10, 12, 10), strict=True)
        )
        print(f"{'all':16}{size:>6}{cells}")
        for name, first, second in (("ensemble", 0, 1), ("best_setting", 2, 3)):
            difference = of_size[:, first] - of_size[:, second]
            middle = difference.mean()
            error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0.0
            results.add(
                f"{name}.{size}_settings.to_random",
                np.exp(middle),
                f"error of the {name.replace('_', ' ')} of {size} settings chosen by other tables, "
                "in ratio to that of random ones, geometric mean over tables",
                np.exp(middle - error),
                np.exp(middle + error),
                "standard error over tables",
                headline=size == max(SIZES),
            )


def main(results):
    """Searches what is not done, and prints what portfolios are worth."""
    import tables as benchmark

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", default=",".join(benchmark.TABLES))
    parser.add_argument("--settings", type=int, default=24)
    parser.add_argument("--done", type=pathlib.Path, default=ROOT / "build" / "portfolio")
    arguments = parser.parse_args()
    arguments.done.mkdir(parents=True, exist_ok=True)
    pools = {}
    for name in arguments.tables.split(","):
        path = arguments.done / f"{name}-{arguments.settings}.npz"
        if not path.exists():
            new = path.with_suffix(".new.npz")
            np.savez_compressed(new, **searched(name, arguments.settings))
            new.replace(path)
        with np.load(path) as archive:
            pools[name] = Pool(archive)
        print(f"{name}: best {pools[name].alone.min():.4f}", file=sys.stderr, flush=True)
    show(pools, results)


if __name__ == "__main__":
    with recording() as results:
        main(results)
