"""Two worker processes of one thread each beside one of one thread, in one study.

Usage: python benchmarks/workers.py [--rounds=3] [--blocks=6] [--lanes=16] [--without_ray] [--quick]

Each worker has one core and one thread, as `kerasreg search --workers` and `--ray` give it, and
trains blocks of dense networks as lanes. A round is a search of one worker and one of two, which
has twice the trials; the floor: two workers, each in a study of its own, so that they share nothing
but the machine; and the same of one and of two actors of a Ray cluster of this machine, where Ray
is installed. The study is a file of SQLite. Workers compile their programs in a search of
their own, and begin together when all have done so. A worker's rate is that of its trials until its
last one; the rate of two is the sum. With two cores and nothing in common it would be twice that of
one. --quick has one round of few samples, to see that it runs.
"""

import argparse
import importlib.util
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
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
# What is measured, by name: how many workers, and how.
CONTENDERS = {
    "one": {"workers": 1},
    "two": {"workers": 2},
    "two apart": {"workers": 2, "alone": True},
    "one of Ray": {"workers": 1, "of_ray": True},
    "two of Ray": {"workers": 2, "of_ray": True},
}
# The ratios that are told: of which to which, and what that is.
RATIOS = {
    "two_over_one": ("two", "one", "trials of a second of two worker processes of one thread"),
    "apart_over_one": (
        "two apart",
        "one",
        "trials of a second of two processes of one thread that share no study, the floor",
    ),
    "ray_two_over_one": (
        "two of Ray",
        "one of Ray",
        "trials of a second of two actors of Ray of one thread",
    ),
}


def search(folder, core, trials, lanes, samples, epochs, alone):
    """What a worker does, until no trial is left; alone in a study of its own."""
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
    run(os.path.join(folder, f"study-{core}" if alone else "study"), trials)


def rate(folder, begun):
    """The trials of a second, of all workers that the studies in a folder have seen."""
    import optuna

    ends = {}
    for path in pathlib.Path(folder).glob("study*/study.db"):
        for trial in optuna.load_study(study_name="study", storage=f"sqlite:///{path}").trials:
            if trial.state.name == "COMPLETE":
                of_worker = ends.setdefault(trial.user_attrs[WORKER], [])
                of_worker.append(trial.datetime_complete.timestamp())
    return rate_of(list(ends.values()), begun)


def rate_of(ends, begun):
    """The sum of the rates of workers, by when their trials ended and all of them began."""
    return sum(len(of_worker) / (max(of_worker) - begun) for of_worker in ends)


def measured(workers, options, alone=False, of_ray=False):
    """The trials of a second of a search by so many workers."""
    with tempfile.TemporaryDirectory() as folder:
        # A study of its own has the trials of one worker.
        trials = (1 if alone else workers) * options.blocks * options.lanes
        shape = options.lanes, options.samples, options.epochs, alone
        every = [[folder, core, trials, *shape] for core in range(workers)]
        begun = (actors if of_ray else processes)(folder, every)
        return rate(folder, begun)


def begin_together(folder, workers, failed):
    """Lets all workers begin when each has compiled its programs; gives the time."""
    while not all(os.path.exists(os.path.join(folder, f"ready-{core}")) for core in range(workers)):
        if failed():
            break  # Of which the error is told by who waits for it.
        time.sleep(0.05)
    begun = time.time()
    pathlib.Path(folder, "go").touch()
    return begun


def processes(folder, every):
    """Runs workers that are processes; gives the time when they began."""
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", json.dumps(given)],
            env={**os.environ, **ONE_THREAD},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for given in every
    ]
    begun = begin_together(folder, len(every), lambda: any(process.poll() for process in running))
    for process in running:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors[-3000:])
    return begun


class Actor:
    """What Ray makes an actor of: a worker."""

    def search(self, given):
        """Takes part in a search."""
        search(*given)


def actors(folder, every):
    """Runs workers that are actors of a Ray cluster; gives the time when they began."""
    import ray

    path = os.pathsep.join([os.path.dirname(os.path.abspath(__file__)), *sys.path])
    ray.init(num_cpus=len(every), include_dashboard=False, log_to_driver=False)
    try:
        environment = {"env_vars": {**ONE_THREAD, "PYTHONPATH": path}}
        make = ray.remote(Actor).options(num_cpus=1, runtime_env=environment)
        running = [make.remote() for _ in every]
        found = [one.search.remote(given) for one, given in zip(running, every, strict=True)]
        begun = begin_together(
            folder, len(every), lambda: ray.wait(found, num_returns=1, timeout=0)[0]
        )
        ray.get(found)
    finally:
        ray.shutdown()
    return begun


def main(results):
    """Measures in turn, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=6, help="of each worker")
    parser.add_argument("--lanes", type=int, default=16, help="of a block")
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--without_ray", action="store_true")
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
    has_ray = not options.without_ray and importlib.util.find_spec("ray") is not None
    names = [name for name in CONTENDERS if has_ray or not name.endswith("Ray")]
    found = {name: [] for name in names}
    print(f"trials/s {''.join(f'{name:>12}' for name in names)}{'seconds':>10}", flush=True)
    for number in range(options.rounds):
        begun = time.perf_counter()
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(measured(options=options, **CONTENDERS[name]))
        took = time.perf_counter() - begun
        cells = "".join(f"{found[name][-1]:>12.2f}" for name in names)
        print(f"round {number + 1:<3}{cells}{took:>10.0f}", flush=True)
    print()
    results.of("one", found["one"], "trials of a second of one worker process of one thread")
    for key, (of, to, text) in RATIOS.items():
        if of in found:
            ratios = [one / other for one, other in zip(found[of], found[to], strict=True)]
            print(f"{of:>10} : {to:<10} {spread(ratios)}")
            results.of(key, ratios, f"{text}, in ratio to one", headline=key == "two_over_one")


if __name__ == "__main__":
    with recording() as results:
        main(results)
