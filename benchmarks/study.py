"""What an oracle costs for each trial: KerasTuner's random search, and one over an Optuna study.

Usage: python benchmarks/study.py [--rounds=5] [--trials=64] [--epochs=5] [--lanes=8]

Nothing is trained. One process asks for as many trials as there are lanes, reports the score of
each epoch of each, ends them, and asks again. The space has eight hyperparameters, of which two are
conditional. Each contender has a new folder in each round; contenders take turns within a round.

KerasTuner's `RandomSearchOracle` keeps its trials in memory, hears of the result alone when a trial
ends, and writes `trial.json` and `oracle.json` for each. `StudyOracle` writes these too, and keeps
each parameter, each epoch and the result in the storage of the study. The floor of a storage is
Optuna without us: `ask`, `suggest`, `report` and `tell` of the same trials.

Printed for each contender: milliseconds per trial, and the ratio to KerasTuner's in the same round,
as the median over rounds with the smallest and largest.
"""

import argparse
import os
import tempfile
import time

from _processes import spread
from _results import recording, slug

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_tuner
import optuna

from kerasreg import tuners
from kerasreg._keras import keras_tuner_internals as internals
from kerasreg.tuners._study_space import suggest, values_by
from kerasreg.tuners._study_storage import storage_of

OBJECTIVE = keras_tuner.Objective("val_loss", "min")
# The first is the one that others are compared with.
FIRST = "KerasTuner RandomSearchOracle"
STORAGES = ("in memory", "SQLite", "journal")


def space():
    """Eight hyperparameters, two of them conditional."""
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    hp.Float("l2", 1e-6, 1e-2, sampling="log")
    hp.Float("dropout", 0.0, 0.5)
    hp.Int("units", 16, 256, step=16)
    hp.Choice("activation", ["relu", "gelu", "tanh"])
    layers = hp.Choice("layers", [1, 2])
    assert layers
    with hp.conditional_scope("layers", [2]):
        hp.Int("units_2", 16, 256, step=16)
        hp.Float("dropout_2", 0.0, 0.5)
    return hp


def storage(kind, folder):
    if kind == "in memory":
        return optuna.storages.InMemoryStorage()
    return os.path.join(folder, "study.db" if kind == "SQLite" else "study.log")


def oracle(contender, trials, folder):
    """The oracle of a contender."""
    common = {"max_trials": trials, "seed": 1, "hyperparameters": space()}
    if contender == FIRST:
        made = keras_tuner.oracles.RandomSearchOracle(OBJECTIVE, **common)
    else:
        sampler, kind = contender.removeprefix("StudyOracle ").split(", ")
        made = tuners.StudyOracle(
            OBJECTIVE, sampler=sampler, storage=storage(kind, folder), **common
        )
    made.verbose = 0
    internals.set_project(made, folder, "project")
    return made


def score(values, epoch):
    return values["dropout"] + values["l2"] + 1.0 / (1 + epoch)


def with_oracle(contender, trials, epochs, lanes, folder):
    """Seconds of all trials."""
    asked = oracle(contender, trials, folder)
    if contender != FIRST:
        asked.open()
    begun, ended = time.perf_counter(), 0
    while ended < trials:
        block = [asked.create_trial(f"lane-{lane}") for lane in range(min(lanes, trials - ended))]
        for epoch in range(epochs if contender != FIRST else 0):
            for trial in block:
                value = score(trial.hyperparameters.values, epoch)
                asked.update_trial(trial.trial_id, {"val_loss": value}, step=epoch)
        for trial in block:
            value = score(trial.hyperparameters.values, epochs - 1)
            asked.update_trial(trial.trial_id, {"val_loss": value}, step=epochs - 1)
            trial.status = "COMPLETED"
            asked.end_trial(trial)
        ended += len(block)
    seconds = time.perf_counter() - begun
    if contender != FIRST:
        assert len(asked.study.trials) == trials
        asked.release()
    return seconds


def with_optuna(contender, trials, epochs, lanes, folder):
    """Seconds of all trials, of Optuna alone."""
    kind, hp = contender.removeprefix("Optuna random, "), space()
    given = storage_of(storage(kind, folder), lambda: "")
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(storage=given, sampler=sampler)
    begun, ended = time.perf_counter(), 0
    while ended < trials:
        block = [study.ask() for _ in range(min(lanes, trials - ended))]
        values = [values_by(hp, lambda of, trial=trial: suggest(trial, of)) for trial in block]
        for epoch in range(epochs):
            for trial, its in zip(block, values, strict=True):
                trial.report(score(its, epoch), epoch)
        for trial, its in zip(block, values, strict=True):
            study.tell(trial, score(its, epochs - 1))
        ended += len(block)
    seconds = time.perf_counter() - begun
    assert len(study.trials) == trials
    return seconds


def contenders():
    """What is compared, by name: functions that give the seconds of all trials."""
    found = {FIRST: with_oracle}
    for kind in STORAGES:
        found[f"Optuna random, {kind}"] = with_optuna
        found[f"StudyOracle random, {kind}"] = with_oracle
        found[f"StudyOracle tpe, {kind}"] = with_oracle
    return found


def main(results):
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=8)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    every = contenders()
    seconds = {name: [] for name in every}
    for number in range(given.rounds + 1):  # The first one is for what is loaded late.
        names = list(every)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            with tempfile.TemporaryDirectory() as folder:
                took = every[name](name, given.trials, given.epochs, given.lanes, folder)
            if number:
                seconds[name].append(took)
    print(f"{given.trials} trials of {given.epochs} epochs, {given.lanes} at a time")
    print(f"{'':34}{'ms per trial':>26}{'ratio to KerasTuner':>30}")
    for name, taken in seconds.items():
        milliseconds = [1000 * one / given.trials for one in taken]
        ratios = [one / base for one, base in zip(taken, seconds[FIRST], strict=True)]
        print(f"{name:34}{spread(milliseconds):>26}{spread(ratios):>30}", flush=True)
        if name != FIRST:
            results.of(
                f"{slug(name)}.to_kerastuner",
                ratios,
                f"time of a trial for {name}, without training, in ratio to KerasTuner in memory",
            )


if __name__ == "__main__":
    with recording() as results:
        main(results)
