"""`kerasreg search` on tables as people have them: text, dates, booleans, missing values."""

import json

import numpy as np
import pandas
import pytest
import tensorflow as tf
from helpers.commands import SearchFolder, command_inside

from kerasreg.cli._data import load_table
from kerasreg.cli._split import search_data, split

pytestmark = pytest.mark.shares_programs

ROWS = 160


def homes():
    rng = np.random.default_rng(0)
    size, town = rng.uniform(50, 150, ROWS), rng.choice(["Ulm", "Bonn", "Köln"], ROWS)
    built = pandas.Timestamp("1950-01-01") + pandas.to_timedelta(rng.integers(0, 20_000, ROWS), "D")
    frame = pandas.DataFrame(
        {
            "id": np.arange(ROWS),
            "living-area (m²)": np.where(rng.random(ROWS) < 0.1, np.nan, size),
            "town": np.where(rng.random(ROWS) < 0.1, "", town),
            "built": built.strftime("%d.%m.%Y"),
            "garden": rng.random(ROWS) < 0.5,
            "rooms": rng.integers(1, 6, ROWS),
        }
    )
    frame["price"] = 500_000 + 3000 * size + 100_000 * (town == "Ulm") + rng.normal(0, 5000, ROWS)
    return frame


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("homes")
    homes().to_csv(path / "homes.csv", index=False)
    (path / "columns.json").write_text(json.dumps({"rooms": "category"}))
    flags = ["--data=homes.csv", "--target=price", "--columns=columns.json"]
    flags += ["--trials=2", "--epochs=8", "--folds=3", "--output_dir=out"]
    return path, command_inside("search", *flags, cwd=path)


def test_it_says_how_each_column_was_read(searched):
    path, done = searched
    assert (done.code, done.err) == (0, "")
    said = done.out.splitlines()
    assert said[0].split("  ")[0] == "column"
    kinds = {line.split("  ")[0]: line for line in said[1:7]}
    for name, kind in {
        "id": "numbers the rows",
        "living-area (m²)": "number",
        "town": "text of 3 values",
        "built": "date (day-month-year)",
        "garden": "boolean",
        "rooms": "as asked",
    }.items():
        assert kind in kinds[name]
    assert "homes.csv: 160 rows, 5 features, regression" in done.out
    assert SearchFolder(path / "out").report["columns"] == list(kinds)[1:]


def test_the_saved_model_takes_raw_rows_by_name_and_has_the_reported_score(searched):
    path, _ = searched
    report = SearchFolder(path / "out").report
    table = load_table(str(path / "homes.csv"), "price")
    rows = homes().iloc[search_data(table).test_rows]
    served = tf.saved_model.load(str(path / report["saved_model"])).signatures["serving_default"]
    given = {
        "living-area (m²)": rows["living-area (m²)"].to_numpy("float32"),
        "town": rows["town"].to_numpy(str),
        "built": rows["built"].to_numpy(str),
        "garden": rows["garden"].to_numpy(),
        "rooms": rows["rooms"].to_numpy("int64"),
    }
    (found,) = served(**{name: tf.constant(values) for name, values in given.items()}).values()
    error = np.sqrt(np.mean((found.numpy()[:, 0] - rows["price"]) ** 2))
    assert error == pytest.approx(report["test"]["ensemble"]["rmse"], rel=1e-4)


@pytest.mark.long
def test_a_search_goes_on_with_its_table_but_not_with_another(searched):
    path, _ = searched
    more = ["search", "--resume", "--trials=3", "--output_dir=out"]
    done = command_inside(*more, cwd=path)
    assert (done.code, done.err) == (0, "")
    assert len(SearchFolder(path / "out").trials) == 3
    changed = homes()
    changed.loc[5, "town"] = "Hof"
    changed.to_csv(path / "homes.csv", index=False)
    done = command_inside(*more, cwd=path)
    homes().to_csv(path / "homes.csv", index=False)
    assert done.code == 2
    assert "has changed" in done.err


def test_columns_can_be_asked_for_in_a_table_of_numbers(tmp_path):
    frame = homes()[["rooms", "price"]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "c.json").write_text(json.dumps({"rooms": "category"}))
    plain = load_table(str(tmp_path / "t.csv"), "price")
    asked = load_table(str(tmp_path / "t.csv"), "price", columns=str(tmp_path / "c.json"))
    assert plain.reading is None
    assert plain.x.shape == (ROWS, 1)
    assert asked.reading["rooms"].kind == "category"
    assert asked.fingerprint() != plain.fingerprint()
    assert split(asked).train[0].shape == (96, 1)


def test_categories_and_scales_are_of_the_training_part(tmp_path):
    frame = homes()
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = load_table(str(tmp_path / "t.csv"), "price")
    parts = split(table)
    only_in_test = frame.copy()
    only_in_test.loc[parts.test_rows, "town"] = "Hof"
    only_in_test.loc[parts.test_rows, "living-area (m²)"] = 1e6
    only_in_test.to_csv(tmp_path / "t.csv", index=False)
    other = split(load_table(str(tmp_path / "t.csv"), "price"))
    np.testing.assert_array_equal(parts.train[0], other.train[0])
    assert set(other.test[0][:, -1]) == {1.0}  # Never seen.


def test_the_learning_rate_finder_takes_such_tables(tmp_path):
    homes().to_csv(tmp_path / "t.csv", index=False)
    done = command_inside("lr-find", "--data=t.csv", "--target=price", "--steps=20", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "96 rows to train on" in done.out
