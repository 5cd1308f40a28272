"""A table of text and holes, from a CSV file to an answer over HTTP.

The penguins: numbers, text and missing values. A search in cross-validation, an ensemble of its
trials, one SavedModel that takes raw rows by column name, and a server that is asked about a
penguin of which two values are not known. Run: python examples/table_to_a_served_answer.py
[--data=examples/penguins.csv] [--target=species] [--trials=12]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import numpy as np
import pandas
from sklearn.model_selection import train_test_split

import kerasreg

PENGUINS = pathlib.Path(__file__).with_name("penguins.csv")


# [search]
def searched(table, rows, trials, folder):
    """The ensemble of a search, as a model of raw rows."""
    hypermodel = kerasreg.hypermodels.TableHyperModel(
        table, len(table.classes), samples=len(rows) * 4 // 5
    )
    tuner = kerasreg.tuners.VectorizedRandomSearch(
        hypermodel,
        hypermodel.objective,
        max_trials=trials,
        seed=1,
        folds=5,
        batches="own",
        directory=folder,
    )
    tuner.search(
        table.arrays(rows),
        table.targets(rows),
        epochs=hypermodel.epochs,
        batch_size=hypermodel.batch_size,
        verbose=0,
    )
    selection = tuner.select_ensemble()
    print(selection)
    return table.model(selection.model())


# [end]


# [ask]
def answer(base_dir, row):
    """Starts `kerasreg serve` for the folder, and asks it about one row."""
    command = [sys.executable, "-m", "kerasreg", "serve", base_dir, "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            # It says where it listens: port 0 is any that is free.
            line = next(line for line in server.stdout if "http://" in line)
            address = next(word for word in line.split() if word.startswith("http://"))
            body = json.dumps({"signature_name": "classify", "instances": [row]})
            with urllib.request.urlopen(address, body.encode(), timeout=60) as response:
                return json.load(response)["predictions"][0]
        finally:
            server.terminate()


# [end]


def main(argv=None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=PENGUINS)
    parser.add_argument("--target", default="species")
    parser.add_argument("--trials", type=int, default=12)
    flags = parser.parse_args(argv)
    # [table]
    frame = pandas.read_csv(flags.data)
    columns = kerasreg.tables.read_columns(frame, flags.target)
    print(columns)
    rows, test_rows = train_test_split(
        frame, test_size=0.25, random_state=0, stratify=frame[flags.target]
    )
    table = kerasreg.tables.Table(rows, columns)
    # [end]
    with tempfile.TemporaryDirectory() as folder:
        model = searched(table, rows, flags.trials, f"{folder}/search")
        probabilities = model.predict(table.raw(test_rows), verbose=0)
        right = table.targets(test_rows) == probabilities.argmax(axis=1)
        print(f"test accuracy {right.mean():.3f} of {len(right)} rows that nothing has seen")
        # [export]
        path = kerasreg.serving.export(
            model, f"{folder}/penguins", samples=table.raw(test_rows), labels=table.labels
        )
        # [end]
        print("exported:", kerasreg.serving.read_card(path)["inputs"])
        row = {name: values.tolist()[0] for name, values in table.raw(test_rows[:1]).items()}
        # The last column of numbers and the last of text are not known.
        kinds = {type(value): name for name, value in row.items()}
        row |= {name: "" if kind is str else np.nan for kind, name in kinds.items()}
        print("asked:", row)
        found = answer(f"{folder}/penguins", row)
    print(f"answered: {found}; it is {test_rows[flags.target].iloc[0]}")
    return {
        "accuracy": float(right.mean()),
        "answer": found["label"],
        "truth": test_rows[flags.target].iloc[0],
    }


if __name__ == "__main__":
    main()
