"""What an oracle costs for each trial: KerasTuner's random search, and one over an Optuna study.

Usage: python benchmarks/study.py [--rounds=5] [--trials=64] [--epochs=5] [--lanes=8]
           [--workers=1,4,16] [--shared_rounds=3] [--quick]

Nothing is trained. One process asks for as many trials as there are lanes, reports the score of
each epoch of each, ends them, and asks again. The space has eight hyperparameters, of which two are
conditional. Each contender has a new folder in each round; contenders take turns within a round.

KerasTuner's `RandomSearchOracle` keeps its trials in memory, hears of the result alone when a trial
ends, and writes `trial.json` and `oracle.json` for each. `StudyOracle` writes these too, and keeps
each parameter, each epoch and the result in the storage of the study. The floor of a storage is
Optuna without us: `ask`, `suggest`, `report` and `tell` of the same trials.

Printed for each contender: milliseconds per trial, and the ratio to KerasTuner's in the same round,
as the median over rounds with the smallest and largest.

Then worker processes share a study, each with a trial of `--epochs` epochs at a time, as many
trials in all as there are workers times `--trials` / 4. SQLite, the journal, and a PostgreSQL
server of its own if one is installed. A trial costs a worker the time of all, times the workers,
over the trials: a storage is saturated where that grows as the workers do, and trials per second
grow no more. On a machine with fewer cores than workers the cores may be what is saturated: printed
are the seconds of processors of all workers per second, too.
"""

import argparse
import contextlib
import multiprocessing
import os
import sqlite3
import tempfile
import time

import _postgres
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


@contextlib.contextmanager
def of_study(given, name, trials):
    """An oracle of random trials in a study."""
    asked = tuners.StudyOracle(
        OBJECTIVE,
        sampler="random",
        storage=given,
        study_name=name,
        max_trials=trials,
        seed=1,
        hyperparameters=space(),
    )
    asked.verbose = 0
    with tempfile.TemporaryDirectory() as folder:
        internals.set_project(asked, folder, "project")
        asked.open()
        yield asked


def run_trial(asked, trial, epochs):
    """Tells an oracle of all epochs of a trial, and ends it."""
    for epoch in range(epochs):
        value = score(trial.hyperparameters.values, epoch)
        asked.update_trial(trial.trial_id, {"val_loss": value}, step=epoch)
    trial.status = "COMPLETED"
    asked.end_trial(trial)


def work(url, name, trials, epochs, begin, tell):
    """A worker: waits for the others, runs trials until there are none, tells when it was done."""
    with of_study(url, name, trials) as asked:
        begin.wait()
        used, ended, last = time.process_time(), 0, time.monotonic()
        while (trial := asked.create_trial("worker")).status != "STOPPED":
            if trial.status == "IDLE":
                continue
            run_trial(asked, trial, epochs)
            ended, last = ended + 1, time.monotonic()
        tell.put((ended, last, time.process_time() - used))


def shared(url, workers, trials, epochs):
    """Seconds of all trials of a study that processes share, and those of their processors."""
    context = multiprocessing.get_context("fork")  # TensorFlow is imported, and not used.
    begin, tell = context.Barrier(workers + 1), context.Queue()
    # A server keeps all studies.
    name = f"of-{workers}-{time.time_ns()}"
    given = url, name, trials, epochs, begin, tell
    processes = [context.Process(target=work, args=given) for _ in range(workers)]
    for process in processes:
        process.start()
    begin.wait(timeout=300)
    begun = time.monotonic()
    told = [tell.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    assert sum(ended for ended, _, _ in told) == trials, told
    return max(last for _, last, _ in told) - begun, sum(used for _, _, used in told)


def carried(url, trials, epochs):
    """What a storage carries for each trial: bytes, and transactions where it has them."""
    made = storage_of(url, lambda: "")
    transactions = 0
    if hasattr(made, "engine"):
        import sqlalchemy

        def count(connection):
            nonlocal transactions
            transactions += 1

        sqlalchemy.event.listen(made.engine, "begin", count)
    with of_study(made, f"carried-{time.time_ns()}", trials) as asked:
        size, transactions = size_of(url), 0
        while (trial := asked.create_trial("worker")).status == "RUNNING":
            run_trial(asked, trial, epochs)
    return (size_of(url) - size) / trials, transactions / trials


def grown(trials):
    """Milliseconds of a trial of one epoch, by how many there are: of each fifth of a study."""
    made = optuna.storages.InMemoryStorage()
    asked = tuners.StudyOracle(
        OBJECTIVE,
        sampler="random",
        storage=made,
        max_trials=trials,
        seed=1,
        hyperparameters=space(),
    )
    asked.verbose = 0
    part, found = trials // 5, []
    with tempfile.TemporaryDirectory() as folder:
        internals.set_project(asked, folder, "project")
        asked.save = lambda: None  # KerasTuner's own file of all trials, which grows with them.
        asked.open()
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(part):
                trial = asked.create_trial("worker")
                value = score(trial.hyperparameters.values, 0)
                asked.update_trial(trial.trial_id, {"val_loss": value})
                trial.status = "COMPLETED"
                asked.end_trial(trial)
            found.append(1000 * (time.perf_counter() - begun) / part)
    return found


def size_of(url):
    """The bytes of a storage: of a file, or of a database."""
    if url.endswith(".db"):
        with contextlib.closing(sqlite3.connect(url)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if "://" not in url:
        return os.path.getsize(url)
    import sqlalchemy

    with sqlalchemy.create_engine(url).connect() as connection:
        return connection.execute(
            sqlalchemy.text("SELECT pg_database_size(current_database())")
        ).scalar()


@contextlib.contextmanager
def shared_storages():
    """What makes the URL of each storage that processes can share, by its name."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        numbers = iter(range(10**6))
        found = {
            "SQLite": lambda: os.path.join(folder, f"{next(numbers)}.db"),
            "journal": lambda: os.path.join(folder, f"{next(numbers)}.log"),
        }
        reason = _postgres.missing()
        if reason is None:
            server = stack.enter_context(_postgres.server())
            found["PostgreSQL"] = lambda: server.url
        else:
            print(f"PostgreSQL is not measured: {reason}", flush=True)
        yield found


def measure_workers(given, results, seconds_of_keras_tuner):
    """The second table: workers that share a study."""
    numbers = [int(number) for number in given.workers.split(",")]
    print(f"\ntrials of {given.epochs} epochs, one at a time for each worker")
    print(f"{'storage':12}{'workers':>8}{'trials/s':>24}{'ms per trial':>26}{'processors':>20}")
    base = 1000 * min(seconds_of_keras_tuner) / given.trials
    with shared_storages() as storages:
        for name, make in storages.items():
            for workers in numbers:
                trials = workers * max(1, given.trials // 4)
                found = [
                    shared(make(), workers, trials, given.epochs)
                    for _ in range(given.shared_rounds)
                ]
                rates = [trials / seconds for seconds, _ in found]
                costs = [1000 * workers * seconds / trials for seconds, _ in found]
                used = [processors / seconds for seconds, processors in found]
                cells = spread(rates, ".1f"), spread(costs), spread(used)
                print(
                    f"{name:12}{workers:8d}{cells[0]:>24}{cells[1]:>26}{cells[2]:>20}", flush=True
                )
                results.of(
                    f"{slug(name)}.workers_{workers}.trials_per_second",
                    rates,
                    f"trials per second of {workers} workers that share a study, without training, "
                    f"{name}",
                )
                results.of(
                    f"{slug(name)}.workers_{workers}.milliseconds",
                    costs,
                    f"milliseconds that a trial costs one of {workers} workers, without training, "
                    f"{name}",
                )
        for name, make in storages.items():
            size, transactions = carried(make(), 4 * given.trials, given.epochs)
            told = f", {transactions:.1f} transactions" if transactions else ""
            print(f"{name}: {size / 1024:.1f} KiB for each trial{told}", flush=True)
            results.add(
                f"{slug(name)}.bytes_per_trial",
                size,
                f"bytes that {name} keeps of a trial of {given.epochs} epochs and 6 to 8 "
                "hyperparameters",
            )
    trials = 400 if given.quick else 4000
    first, *_, last = grown(trials)
    more = (last - first) / (0.8 * trials) * 1000
    print(
        f"in memory, of {trials} trials: the first fifth {first:.2f} ms each, the last {last:.2f}: "
        f"{more:.2f} ms more for each thousand trials that there are"
    )
    results.add(
        "milliseconds_per_thousand_trials",
        more,
        f"milliseconds that a trial costs more for each thousand trials of the study, of {trials}",
    )
    print(f"one process of KerasTuner's oracle in memory: {base:.2f} ms per trial")


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
    parser.add_argument("--workers", default="1,4,16")
    parser.add_argument("--shared_rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of few trials")
    given = parser.parse_args()
    if given.quick:
        given.rounds, given.trials, given.shared_rounds = 1, 16, 1
        results.covers = "one round of 16 trials"
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
    measure_workers(given, results, seconds[FIRST])


if __name__ == "__main__":
    with recording() as results:
        main(results)
