"""`kerasreg predict`: what a saved model says of each row of a file, or one clear line."""

import os

import keras
import numpy as np
import pandas
import pytest
from helpers.commands import check_refused, command, command_inside, contents

from kerasreg import models, serving
from kerasreg.cli._data import load_table
from kerasreg.tables import Table, read_columns

ROWS = 60


def homes():
    rng = np.random.default_rng(0)
    built = pandas.Timestamp("1950-01-01") + pandas.to_timedelta(rng.integers(0, 20_000, ROWS), "D")
    member = pandas.Series(rng.random(ROWS) < 0.5, dtype=object)
    return pandas.DataFrame(
        {
            "area (m²)": np.where(rng.random(ROWS) < 0.2, np.nan, rng.uniform(50, 150, ROWS)),
            "seconds": 1.7e9 + rng.integers(0, 1000, ROWS),
            "town": rng.choice(["Ulm", "Bonn", "007", ""], ROWS),
            "built": built.strftime("%d.%m.%Y"),
            "garden": rng.random(ROWS) < 0.5,
            "member": member.where(rng.random(ROWS) > 0.1, None),
            "zip": rng.integers(10, 30, ROWS),
            "sold": rng.choice(["no", "yes"], ROWS),
        }
    )


@pytest.fixture(scope="module")
def table():
    frame = homes()
    return Table(frame, read_columns(frame, "sold", overrides={"zip": "category"}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, table):
    """Holds models, as they are saved and exported, and files of rows."""
    path = tmp_path_factory.mktemp("predict")
    inputs = table.inputs()
    encoded = table.encode(inputs, width=3, bins=4, seed=1)
    network = keras.Model(inputs, keras.layers.Dense(2, "softmax")(encoded))
    model = table.model(network)
    model.save(path / "homes.keras")
    homes().to_csv(path / "homes.csv", index=False)
    (path / "columns.json").write_text('{"zip": "category"}')
    read = load_table(str(path / "homes.csv"), "sold", columns=str(path / "columns.json"))
    card = {"data": read.described()}
    serving.export(model, path / "homes", labels=table.labels, card=card, tolerance=None)
    vector = keras.Input((2,), name="x")
    members = [keras.Model(vector, keras.layers.Dense(1)(vector)) for _ in range(2)]
    members[0].save(path / "plain.keras")
    card = {"data": {"columns": ["b", "a"]}}
    spread = models.ensemble(members, spread=True)
    serving.export(spread, path / "plain", card=card, tolerance=None)
    (path / "plain" / "2").mkdir()
    os.rename(path / "plain" / "1", path / "plain" / "12")
    rows = pandas.DataFrame({"id": ["007", "x"], "a": [1.5, 2], "b": [0.25, 4]})
    rows.to_csv(path / "rows.csv", index=False)
    return path


@pytest.fixture(scope="module")
def expected(folder, table):
    """The probabilities of the rows of homes.csv."""
    model = keras.saving.load_model(folder / "homes.keras")
    raw = table.raw(homes())
    tensors = {
        name: keras.ops.convert_to_tensor(values.astype(str) if values.dtype == object else values)
        for name, values in raw.items()
    }
    return np.array(model(tensors))


def predicted(folder, *arguments, output="out.csv", note=""):
    done = command_inside("predict", *arguments, f"--output={output}", cwd=folder)
    assert (done.code, done.err) == (0, note)
    assert done.out.startswith(f"wrote {output}: ")
    if output.endswith(".parquet"):
        return pandas.read_parquet(folder / output)
    return pandas.read_csv(folder / output)


@pytest.mark.parametrize("model", ["homes", "homes/1", "homes.keras"])
@pytest.mark.parametrize("batch_size", [7, 1024])
def test_rows_of_a_table_are_predicted_by_columns(folder, expected, model, batch_size):
    labels = ["--labels=no,yes"] if model == "homes.keras" else []
    found = predicted(folder, model, "homes.csv", *labels, f"--batch_size={batch_size}")
    assert list(found) == ["prediction", "probability_no", "probability_yes"]
    np.testing.assert_allclose(found.iloc[:, 1:], expected, atol=1e-6)
    assert found["prediction"].tolist() == [("no", "yes")[k] for k in expected.argmax(axis=1)]


def test_classes_without_labels_are_numbers(folder, expected):
    found = predicted(folder, "homes.keras", "homes.csv")
    assert list(found) == ["prediction", "probability_0", "probability_1"]
    assert found["prediction"].tolist() == expected.argmax(axis=1).tolist()


def _european(frame):
    frame = frame.sample(frac=1.0, axis=1, random_state=0)  # Columns in another order.
    frame["garden"] = frame["garden"].map({True: "TRUE", False: "false"})
    return frame.to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n").encode(
        "utf-8-sig"
    )


def test_a_file_of_a_spreadsheet_is_read_as_said(folder, expected):
    (folder / "european.csv").write_bytes(_european(homes()))
    found = predicted(folder, "homes", "european.csv", "--sep=;", "--decimal=,")
    (only,) = found.columns
    assert only == "prediction;probability_no;probability_yes"
    found = pandas.read_csv(folder / "out.csv", sep=";", decimal=",")
    np.testing.assert_allclose(found["probability_no"], expected[:, 0], atol=1e-6)


def test_a_number_with_a_decimal_comma_may_be_kept_as_it_is_written(folder):
    (folder / "commas.csv").write_text("a;b\n1,5;0,25\n2,0;4\n")
    flags = ["--sep=;", "--decimal=,", "--features=b,a", "--keep=a"]
    predicted(folder, "plain.keras", "commas.csv", *flags)
    found = pandas.read_csv(folder / "out.csv", sep=";", decimal=",", dtype={"a": str})
    named = predicted(folder, "plain.keras", "rows.csv", "--features=b,a")
    assert found["a"].tolist() == ["1,5", "2,0"]
    np.testing.assert_allclose(found["prediction"], named["prediction"], rtol=1e-5)


def test_a_parquet_file_and_its_dates_are_read_and_one_is_written(folder, expected):
    frame = homes()
    frame["built"] = pandas.to_datetime(frame["built"], dayfirst=True)
    frame["town"] = frame["town"].astype("category")
    frame["garden"] = frame["garden"].astype("boolean")
    frame.to_parquet(folder / "homes.parquet")
    found = predicted(folder, "homes", "homes.parquet", output="new/out.parquet")
    np.testing.assert_allclose(found["probability_yes"], expected[:, 1], atol=1e-6)


def test_what_training_has_not_seen_is_predicted(folder):
    frame = homes().iloc[:5].drop(columns="sold")
    frame["town"] = "Hof"
    frame["built"] = ""
    frame["area (m²)"] = np.nan
    frame["zip"] = 99
    frame.to_csv(folder / "new.csv", index=False)
    found = predicted(folder, "homes", "new.csv")
    assert np.isfinite(found["probability_no"]).all()
    assert len(found) == 5


def test_codes_of_digits_are_categories_as_they_are_written(folder, expected):
    # A part of a column of text may look like numbers.
    frame = homes()
    rows = np.flatnonzero(frame["town"] == "007")
    frame.iloc[rows].to_csv(folder / "codes.csv", index=False)
    found = predicted(folder, "homes", "codes.csv")
    np.testing.assert_allclose(found["probability_no"], expected[rows, 0], atol=1e-6)


def test_the_card_has_what_a_model_of_one_output_does_not_tell(folder, expected):
    table = load_table("wine")
    inputs = keras.Input((13,), name="x")
    network = keras.Model(inputs, keras.layers.Dense(3, "softmax")(inputs))
    members = models.ensemble([network, network], spread=True)  # It has no labels of its own.
    serving.export(members, folder / "wine", card={"data": table.described()}, tolerance=None)
    # Other columns before, and none of them named by a flag.
    frame = pandas.DataFrame(table.x[:, ::-1], columns=table.columns[::-1])
    frame.insert(0, "year", 2026)
    frame.to_csv(folder / "wine.csv", index=False)
    found = predicted(folder, "wine", "wine.csv", "--spread")
    kinds = ("probability", "spread")
    names = ["prediction", *(f"{kind}_{k}" for kind in kinds for k in range(3))]
    assert list(found) == names
    np.testing.assert_allclose(found.iloc[:, 1:4], network.predict(table.x, verbose=0), atol=1e-5)
    assert (found.iloc[:, 4:] < 1e-6).all(axis=None)


def test_rows_of_numbers_are_predicted_in_the_order_of_the_card(folder):
    (kernel, bias), *_ = [
        layer.get_weights()
        for layer in keras.saving.load_model(folder / "plain.keras").layers
        if layer.weights
    ]
    x = np.array([[0.25, 1.5], [4, 2]])
    found = predicted(folder, "plain.keras", "rows.csv", "--features=b,a", "--keep=id")
    assert (folder / "out.csv").read_text().splitlines()[1].startswith("007,")
    assert list(found) == ["id", "prediction"]
    np.testing.assert_allclose(found["prediction"], (x @ kernel + bias)[:, 0], rtol=1e-5)
    # The newest version has two members, of which this is one.
    both = predicted(folder, "plain", "rows.csv", "--spread")
    assert list(both) == ["prediction", "spread"]
    np.testing.assert_allclose(
        abs(both["prediction"] - found["prediction"]), both["spread"], rtol=1e-4
    )
    assert list(predicted(folder, "plain/12", "rows.csv")) == ["prediction"]


def test_without_names_all_columns_are_features_but_an_index(folder):
    rows = pandas.read_csv(folder / "rows.csv")[["b", "a"]]
    rows.to_csv(folder / "indexed.csv")
    named = predicted(folder, "plain.keras", "rows.csv", "--features=b,a")
    found = predicted(folder, "plain.keras", "indexed.csv")
    pandas.testing.assert_frame_equal(found, named)


def test_a_model_of_one_size_of_batch_predicts_any_number_of_rows(folder):
    inputs = keras.Input(batch_shape=(4, 2), name="x")
    outputs = keras.ops.sum(keras.ops.reshape(inputs, (4, 2)), axis=1, keepdims=True)
    keras.Model(inputs, outputs).save(folder / "four.keras")
    pandas.DataFrame({"a": np.arange(10.0), "b": 1}).to_csv(folder / "ten.csv", index=False)
    found = predicted(folder, "four.keras", "ten.csv")
    assert found["prediction"].tolist() == [k + 1.0 for k in range(10)]


def test_a_probability_of_the_second_class_is_one_of_two(folder):
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.layers.Activation("sigmoid")(inputs[:, :1])).save(
        folder / "two.keras"
    )
    pandas.DataFrame({"a": [0.0, 3.0, -3.0], "b": 1}).to_csv(folder / "three.csv", index=False)
    found = predicted(folder, "two.keras", "three.csv", "--labels=no,yes")
    assert found["prediction"].tolist() == ["no", "yes", "no"]
    np.testing.assert_allclose(found["probability_yes"], [0.5, 0.952574, 0.047426], atol=1e-5)


def test_several_outputs_are_columns_of_their_names(folder):
    inputs = keras.Input((2,))
    outputs = {"sum": keras.ops.sum(inputs, axis=1), "both": inputs * 2}
    keras.Model(inputs, outputs).save(folder / "several.keras")
    found = predicted(folder, "several.keras", "rows.csv", "--features=a,b")
    assert sorted(found) == ["both_0", "both_1", "sum"]
    assert found["sum"].tolist() == [1.75, 6.0]
    assert found["both_1"].tolist() == [0.5, 8.0]


def test_a_model_that_fills_holes_is_given_them(folder):
    table = Table(pandas.DataFrame({"a": [1.0, 3.0, 4.0, 9.0], "b": [1.0, 2.0, 3.0, 5.0]}))
    inputs = table.inputs()
    network = keras.Model(inputs, keras.layers.Dense(1)(table.encode(inputs, embedding="none")))
    table.vector_model(network).save(folder / "filled.keras")
    (folder / "holes.csv").write_text("a,b\n,2\n3.5,2\n")
    found = predicted(folder, "filled.keras", "holes.csv")
    assert found["prediction"][0] == found["prediction"][1]  # By the median.


def test_predictions_that_are_not_finite_are_told_of(folder):
    inputs = keras.Input((2,))
    keras.Model(inputs, keras.ops.log(inputs[:, :1])).save(folder / "log.keras")
    pandas.DataFrame({"a": [1.0, 0.0, 0.0], "b": 1}).to_csv(folder / "zeros.csv", index=False)
    predicted(
        folder,
        "log.keras",
        "zeros.csv",
        note="kerasreg: note: 'prediction' is not finite in 2 rows, the first of which is data row "
        "2\n",
    )


def changed(**columns):
    """Writes homes with some columns replaced by one value in row 3, or left out for None."""

    def write(path):
        frame = homes().astype({"seconds": object, "zip": object, "garden": object})
        frame["area (m²)"] = frame["area (m²)"].astype(object)
        for name, value in columns.items():
            name = {"area": "area (m²)"}.get(name, name)
            if value is None:
                frame = frame.drop(columns=name)
            else:
                frame.loc[2, name] = value
        frame.to_csv(path, index=False)

    return write


def lines(*texts):
    return lambda path: path.write_text("\n".join(texts) + "\n")


BAD = {
    "a column that is missing": (changed(town=None), "homes", ["no column 'town'"]),
    "one that is called alike": (
        lambda path: homes().rename(columns={"town": "towns"}).to_csv(path, index=False),
        "homes",
        ["no column 'town'", "did you mean its 'towns'"],
    ),
    "text where a number is": (changed(area="much"), "homes", ["'area (m²)'", "'much'", "row 3"]),
    "text in one without holes": (
        changed(seconds="soon"),
        "homes",
        ["'seconds'", "'soon'", "row 3"],
    ),
    "a date that is none": (
        changed(built="31.2.2001"),
        "homes",
        ["'built'", "'31.2.2001'", "row 3", "day-month-year"],
    ),
    "another date": (
        changed(built="2001-12-31"),
        "homes.keras",
        ["'built'", "'2001-12-31'", "row 3"],
    ),
    "no boolean": (changed(garden="large"), "homes", ["'garden'", "'large'", "row 3"]),
    "no boolean in one with holes": (
        changed(member="no"),
        "homes.keras",
        ["'member'", "'no'", "row 3"],
    ),
    "no boolean at all": (changed(garden=""), "homes", ["'garden'", "no value", "row 3"]),
    "half a code": (changed(zip="12.5"), "homes", ["'zip'", "12.5", "row 3", "whole"]),
    "no code": (changed(zip=""), "homes", ["'zip'", "no value", "row 3"]),
    "another separator": (
        lambda path: homes().to_csv(path, index=False, sep=";"),
        "homes",
        ["--sep=';'"],
    ),
    "a hole in rows of numbers": (lines("b,a", "1,2", ",3"), "plain", ["'b'", "no value", "row 2"]),
    "text in rows of numbers": (lines("b,a", "1,2", "x,3"), "plain", ["'b'", "'x'", "row 2"]),
    "too many columns": (
        lines("b,a,c", "1,2,3"),
        "plain.keras",
        ["2 numbers", "3 columns", "--features"],
    ),
    "no rows": (lines("b,a"), "plain", ["no rows"]),
    "two columns of a name": (lines("b,a,a", "1,2,3"), "plain", ["two columns", "'a'"]),
    "an empty file": (lambda path: path.write_text(""), "plain", ["is empty"]),
    "no file": (lambda path: None, "plain", ["FILE", "No file"]),
    "no model": (lines("b,a", "1,2"), "nowhere", ["MODEL", "'nowhere'"]),
    "the folder around": (lines("b,a", "1,2"), "around", ["did you mean", "around/model"]),
    "no Keras model": (lines("b,a", "1,2"), "text.keras", ["MODEL", "text.keras"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(folder, case):
    make, model, words = BAD[case]
    (folder / "around" / "model" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "text.keras").write_text("no model")
    (folder / "bad.csv").unlink(missing_ok=True)
    make(folder / "bad.csv")
    before = contents(folder)
    done = command_inside("predict", model, "bad.csv", "--output=bad_out.csv", cwd=folder)
    check_refused(done, *words)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["predict needs a model, a file and a file to write"]),
        (["plain", "rows.csv"], ["predict needs"]),
        (["plain", "rows.csv", "more", "--output=o.csv"], ["unexpected argument 'more'"]),
        (["plain", "rows.csv", "--output=o.txt"], ["--output", ".parquet"]),
        (["plain", "rows.csv", "--output=rows.csv"], ["--output", "another file"]),
        (["plain", "x.txt", "--output=o.csv"], ["FILE"]),
        (["plain", "rows.csv", "--output=o.csv", "--keep=none"], ["no column 'none'"]),
        (["plain", "rows.csv", "--output=o.csv", "--labels=a,b"], ["--labels"]),
        (["homes", "homes.csv", "--output=o.csv", "--labels=a,b"], ["--labels", "no, yes"]),
        (["homes", "homes.csv", "--output=o.csv", "--features=town"], ["--features", "'town'"]),
        (["homes", "homes.csv", "--output=o.csv", "--spread"], ["--spread", "spread=True"]),
        (["plain", "rows.csv", "--output=o.csv", "--features=a"], ["--features", "2 numbers"]),
        (["plain", "rows.csv", "--output=o.csv", "--batch_size=0"], ["--batch_size"]),
        (["plain", "rows.csv", "--output=o.csv", "--sep=::"], ["sep", "one character"]),
    ],
    ids=lambda value: " ".join(value[2:]) or "nothing",
)
def test_arguments_that_cannot_be_used_are_refused(folder, arguments, words):
    before = contents(folder)
    check_refused(command_inside("predict", *arguments, cwd=folder), *words)
    assert contents(folder) == before


@pytest.mark.long
def test_a_process_of_its_own_predicts_many_rows_and_is_quiet(folder, expected):
    frame = homes()
    many = pandas.concat([frame] * 1700, ignore_index=True)
    many.to_csv(folder / "many.csv", index=False)
    done = command("predict", "homes", "many.csv", "--output=many_out.csv", cwd=folder)
    assert (done.code, done.err) == (0, "")
    found = pandas.read_csv(folder / "many_out.csv")
    assert len(found) == len(many)
    np.testing.assert_allclose(found["probability_no"][-ROWS:], expected[:, 0], atol=1e-6)
