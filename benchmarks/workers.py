"""Two worker processes of one thread each beside one of one thread, in one study.

Usage: python benchmarks/workers.py [--rounds=3] [--blocks=6] [--lanes=16] [--quick]

Each worker is a process with one core, as `kerasreg search --workers` starts them, and trains
blocks of dense networks as lanes; the study is a file of SQLite. A round is a search of one worker
and one of two, which has twice the trials. Workers compile their programs in a search of their own,
and begin together when all have done so. A worker's rate is that of its trials until its last one;
the rate of two is the sum. With two cores and nothing in common it would be twice that of one.
--quick has one round of few samples, to see that it runs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from _processes import spread
from _results import recording
from _small_network import build, data

BATCH = 64
WORKER = "kerasreg:worker"


def search(folder, core, trials, lanes, samples, epochs):
    """What a worker does, until no trial is left."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [sorted(os.sched_getaffinity(0))[core]])
    import kerasreg

    x, y = data(samples)

    def run(path, trials):
        tuner = kerasreg.tuners.VectorizedStudySearch(
            build,
            "val_loss",
            max_trials=trials,
            sampler="random",
            seed=1,
            max_lanes=lanes,
            trials_at_once=lanes,
            storage=os.path.join(path, "study.db"),
            study_name="study",
            directory=path,
        )
        given = {"epochs": epochs, "batch_size": BATCH, "verbose": 0}
        tuner.search(x, y, validation_data=(x[:256], y[:256]), **given)

    run(os.path.join(folder, f"compiled-{core}"), 2 * lanes)
    pathlib.Path(folder, f"ready-{core}").touch()
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.01)
    run(folder, trials)


def rate(folder, begun):
    """The trials of a second, of all workers that a study has seen."""
    import optuna

    study = optuna.load_study(study_name="study", storage=f"sqlite:///{folder}/study.db")
    ends = {}
    for trial in study.trials:
        if trial.state.name == "COMPLETE":
            of_worker = ends.setdefault(trial.user_attrs[WORKER], [])
            of_worker.append(trial.datetime_complete.timestamp())
    return rate_of(list(ends.values()), begun)


def rate_of(ends, begun):
    """The sum of the rates of workers, by when their trials ended and all of them began."""
    return sum(len(of_worker) / (max(of_worker) - begun) for of_worker in ends)


def measured(workers, options):
    """The trials of a second of a search by so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        trials = workers * options.blocks * options.lanes
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        shape = options.lanes, options.samples, options.epochs
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "--work", json.dumps([folder, core, trials, *shape])],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for core in range(workers)
        ]
        while not all(
            os.path.exists(os.path.join(folder, f"ready-{core}")) for core in range(workers)
        ):
            if any(process.poll() for process in running):
                break  # Of which the error is told below.
            time.sleep(0.05)
        begun = time.time()
        pathlib.Path(folder, "go").touch()
        for process in running:
            _, errors = process.communicate()
            if process.returncode:
                sys.exit(errors[-3000:])
        return rate(folder, begun)


def main(results):
    """Measures in turn, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=6, help="of each worker")
    parser.add_argument("--lanes", type=int, default=16, help="of a block")
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        search(*json.loads(options.work))
        return
    if len(getattr(os, "sched_getaffinity", lambda _: [0, 1])(0)) < 2:
        sys.exit("two workers of one thread each need two cores")
    if options.quick:
        options.rounds, options.blocks, options.samples, options.epochs = 1, 4, 1024, 2
    found = {count: [] for count in (1, 2)}
    print(f"{'round':>5}{'trials/s of one':>18}{'of two':>10}{'ratio':>8}{'seconds':>9}")
    for number in range(options.rounds):
        begun = time.perf_counter()
        for count, rates in found.items():
            rates.append(measured(count, options))
        one, two = found[1][-1], found[2][-1]
        took = time.perf_counter() - begun
        print(f"{number + 1:>5}{one:>18.2f}{two:>10.2f}{two / one:>8.2f}{took:>9.0f}", flush=True)
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    print(f"\ntwo workers: {spread(ratios)} times the trials of one")
    results.of("one", found[1], "trials of a second of one worker process of one thread")
    results.of(
        "two_over_one",
        ratios,
        "trials of a second of two worker processes of one thread, in ratio to one",
        headline=True,
    )


if __name__ == "__main__":
    with recording() as results:
        main(results)
