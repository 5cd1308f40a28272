"""What each ingredient of a search of tables gives, in equal time.

Usage: pip install -r requirements-tables.txt
       python benchmarks/ablations.py [--tables=attrition,...] [--seeds=2] [--seconds=60]
           [--done=FILE.json] [--show] [--json=FILE]

The tables, spaces and models are those of benchmarks/tables.py, which says what is searched and
what is printed. Each search has the same seconds, and seeds of one table have other test parts:
kerasreg as it is; without folds, with a fifth of the rows to validate; without embeddings of
numbers; without schedules of the learning rate and of dropout. Of the first one there are also the
best setting alone, the ensemble with each trial trained again, and the best setting without what
regularizes. An ingredient pays where a search without it has more error.

What is done is kept in a file, and not done again. With the defaults it takes an hour.
"""

import argparse

import tables
from _results import recording

# Those that a search goes through within a minute; the others of tables.py are larger.
SMALL = ("attrition", "credit_data", "mlc_churn", "cells", "hpc_data", "HMDA", "concrete")
CONTENDERS = ("kerasreg", "without folds", "without embeddings", "without schedules")


def main(results):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", default=",".join(SMALL))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--done", default="build/ablations.json")
    parser.add_argument("--show", action="store_true", help="only show what is done")
    given = parser.parse_args()
    names = given.tables.split(",")
    settings = {"epochs": None, "trials": 10, "lanes": 40, "seconds": given.seconds}
    done = tables.Done(given.done, settings)
    was_there = bool(done.results)
    searching = argparse.Namespace(**settings, most=tables.MOST_TRIALS)
    for seed in range(1, given.seeds + 1):
        for name in names:
            if not given.show:
                tables.fill(done, name, seed, CONTENDERS, searching)
    results.leave_out("--show", "--done=")
    results.was_measured_now = not given.show and not was_there
    tables.show(done, names, given.seeds, results)


if __name__ == "__main__":
    with recording() as results:
        main(results)
