"""Tables as arrays, and as models of raw rows that compute the same."""

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasreg import lanes
from kerasreg.tables import DateNumbers, Table, model_columns, read_columns

ROWS = 300


def with_holes(rows=ROWS, seed=0):
    """A table as people have them."""
    rng = np.random.default_rng(seed)

    def holes(values, share=0.1):
        return pd.Series(values, dtype=object).where(rng.random(rows) > share, None)

    return pd.DataFrame(
        {
            "capital-gain": holes(rng.lognormal(size=rows)).astype(float),
            "seconds": 1.6e9 + rng.integers(0, 10_000, rows),
            "job": holes(rng.choice(["cook", "clerk", "smith", "Müller"], rows)),
            "paid/unpaid": rng.random(rows) < 0.5,
            "member": holes(rng.random(rows) < 0.5),
            "born": holes(
                [f"{1 + k % 28}/{1 + k % 12}/{1950 + k % 60} {k % 24}:15" for k in range(rows)]
            ),
            "joined": pd.date_range("2020-01-01", periods=rows, freq="37h"),
            "zip": rng.integers(0, 30, rows),
            "floor": holes(rng.integers(0, 5, rows)).astype(float),
            "constant": 1,
            "price": 1000 + 300 * rng.normal(size=rows),
            "sold": rng.choice(["no", "yes"], rows),
        }
    )


def read(frame, target="price", **arguments):
    overrides = {"zip": "category", "floor": "category"}
    columns = read_columns(
        frame.drop(columns=arguments.pop("drop", "sold")), target, overrides=overrides
    )
    return Table(frame, columns, **arguments)


def tensors(raw):
    return {
        name: keras.ops.convert_to_tensor(values.astype(str) if values.dtype == object else values)
        for name, values in raw.items()
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_model_of_raw_rows_computes_the_arrays_exactly(seed):
    frame = with_holes(seed=seed)
    table = read(frame.iloc[: ROWS // 2])
    found = table.preprocessing()(tensors(table.raw(frame)))
    expected = table.arrays(frame)
    assert expected.dtype == np.float32
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(np.array(found), expected)


def test_what_is_fitted_is_of_the_training_rows_alone():
    frame = with_holes()
    other = frame.copy()
    other.loc[100:, "capital-gain"] = 1e6
    other.loc[100:, "job"] = "pilot"
    columns = read_columns(frame, "price", overrides={"sold": "dropped"})
    first, second = Table(frame[:100], columns), Table(other[:100], columns)
    np.testing.assert_array_equal(first.arrays(frame[:100]), second.arrays(other[:100]))
    assert first.target_scale == pytest.approx(frame["price"][:100].std(ddof=0))


def test_numbers_are_filled_scaled_and_drawn_in():
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 5.0, np.nan, 9.0, 2000.0]})
    table = Table(frame)
    low, median, high = np.nanquantile(frame["x"], (0.25, 0.5, 0.75))
    z = (frame["x"].fillna(median) - median) / (high - low)
    found = table.arrays(frame)
    assert table.features == ["x", "x_missing"]
    np.testing.assert_allclose(found[:, 0], z / np.sqrt(1 + (z / 3) ** 2), atol=1e-6)
    assert found[:, 1].tolist() == [0, 0, 0, 0, 1, 0, 0]


def test_categories_have_places_for_missing_ones_and_for_those_never_seen():
    training = pd.DataFrame({"x": ["b", "b", "b", "a", "a", None, "once"]})
    table = Table(training)
    new = pd.DataFrame({"x": ["a", "b", "new", "", None, "once"]})
    assert table.arrays(new)[:, 0].tolist() == [3, 2, 1, 0, 0, 1]
    assert table.sizes == [4]
    assert not table.unused
    assert Table(training[:5]).unused == [(0, 0), (0, 1)]


def test_the_most_frequent_categories_are_kept():
    names = [f"v{k}" for k in range(400) for _ in range(2 + (k >= 200))]
    table = Table(pd.DataFrame({"x": names}))
    assert table.sizes == [258]
    found = table.arrays(pd.DataFrame({"x": ["v0", "v399", "v250", "v199"]}))[:, 0]
    assert (found[1:3] > 1).all()
    assert found[3] == 1


def test_booleans_are_about_one_and_minus_one():
    frame = pd.DataFrame({"x": [True, False, None, True]}, dtype=object)
    found = Table(frame).arrays(frame)
    assert found[0, 0] == -found[1, 0] > 0.9
    assert found[2].tolist() == [0, 1]


MOMENTS = st.datetimes(
    pd.Timestamp("1900-01-01").to_pydatetime(), pd.Timestamp("2099-12-31").to_pydatetime()
)
WRITTEN = {
    "year-month-day": "%Y-%m-%dT%H:%M:%S",
    "day-month-year": "%d.%m.%Y %H:%M:%S",
    "month-day-year": "%m/%d/%Y %H:%M:%S",
}


@settings(deadline=None, max_examples=40)
@given(st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from(sorted(WRITTEN)))
def test_dates_are_those_of_the_calendar(moments, order):
    texts = [moment.strftime(WRITTEN[order]) for moment in moments]
    layer = DateNumbers(order, ["days", "year", "month", "weekday", "hour"])
    found = np.array(layer(keras.ops.convert_to_tensor(texts)))
    for row, moment in zip(found, moments, strict=True):
        moment = moment.replace(microsecond=0)
        seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
        turns = [(moment.month - 1) / 12, moment.weekday() / 7, seconds / 86400]
        angles = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
        days = (moment - pd.Timestamp("1970-01-01").to_pydatetime()).total_seconds() / 86400
        np.testing.assert_allclose(row, [days, moment.year, *angles], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1970-01-02", 1),
        ("1970-1-2 6:00", 1.25),
        ("1970-01-02T12:00:00.999Z", 1.5),
        ("1970-01-02 12:00+06:00", 1.25),
        ("1970-01-02 12:00-0600", 1.75),
        ("2000-02-29", 11016),
        ("1900-02-29", np.nan),
        ("1800-02-29", np.nan),
        ("2026-13-01", np.nan),
        ("2026-04-31", np.nan),
        ("2026-04-01 24:00", np.nan),
        ("2026-04-01 ", np.nan),
        ("x2026-04-01", np.nan),
        ("2026-04-01\n", np.nan),
        ("٢٠٢٦-04-01", np.nan),
        ("", np.nan),
    ],
)
def test_what_is_a_date(text, days):
    found = DateNumbers()(keras.ops.convert_to_tensor([text]))
    np.testing.assert_allclose(np.array(found), [[days]], atol=1e-12)
    frame = pd.DataFrame({"x": ["1970-01-01", "1970-01-03", text]})
    if np.isnan(days) and text:
        table = Table(frame[:2])
        with pytest.raises(ValueError, match=r"Column 'x' is one of dates, .* in data row 3"):
            table.arrays(frame)


@pytest.mark.parametrize(
    "arguments", [{"order": "ymd"}, {"parts": []}, {"parts": "days"}, {"parts": ["era"]}]
)
def test_bad_arguments_of_dates_are_refused(arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        DateNumbers(**arguments)


def test_targets_are_standardised_and_the_outputs_are_raw():
    frame = with_holes()
    table = read(frame)
    y = table.targets(frame)
    assert abs(y.mean()) < 1e-6
    assert abs(y.std() - 1) < 1e-6
    network = keras.Sequential([table.inputs(), keras.layers.Dense(1)])
    expected = network.predict(table.arrays(frame), verbose=0) * frame["price"].std(ddof=0)
    found = table.model(network)(tensors(table.raw(frame)))
    np.testing.assert_allclose(found, expected + frame["price"].mean(), rtol=1e-5)


CLASSES = {
    "text": (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
    "booleans": ([True, False, True], (False, True), [1, 0, 1]),
    "whole numbers": ([5, 3, 4], (3, 4, 5), [2, 0, 1]),
    "categories": (pd.Categorical(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
}


@pytest.mark.parametrize("case", CLASSES)
def test_classes_are_numbered_and_keep_their_labels(case):
    values, classes, numbers = CLASSES[case]
    frame = pd.DataFrame({"x": [1.5, 2.0, 4.0], "y": values})
    table = Table(frame, target="y")
    assert table.classes == classes
    assert table.labels == [str(label) for label in classes]
    assert table.targets(frame).tolist() == numbers
    assert table.target_scale == 1


def test_whole_numbers_can_be_a_quantity():
    frame = pd.DataFrame({"x": [1.5, 2.0, 4.0], "y": [5, 3, 4]})
    assert Table(frame, target="y", task="regression").classes is None


def networks(table, embedding):
    def network(number):
        keras.utils.set_random_seed(number)
        inputs = table.inputs()
        hidden = table.encode(inputs, embedding=embedding, width=3, bins=4, seed=number)
        model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
        model.compile(keras.optimizers.Adam(0.01 * (number + 1)), "mse", jit_compile=False)
        return model

    return network


@pytest.mark.short("piecewise_linear")
@pytest.mark.parametrize("embedding", ["none", "piecewise_linear", "periodic"])
def test_two_networks_on_a_table_train_as_lanes(embedding):
    frame = with_holes()
    table = read(frame)
    x, y = table.arrays(frame), table.targets(frame)
    network = networks(table, embedding)
    together = lanes.Lanes([network(0), network(1)], jit_compile=False, random_numbers="keras")
    options = {"batch_size": 64, "epochs": 2, "shuffle": False}
    together.fit(x, y, **options)
    assert not together.loops
    alone = network(1)
    alone.fit(x, y, verbose=0, **options)
    found, expected = (m.predict(x, verbose=0) for m in (together.unstack(1), alone))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.long
def test_embeddings_learn_what_a_linear_network_cannot():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=600), "job": rng.choice(["a", "b"], 600)})
    frame["y"] = np.where(frame["x"].abs() < 0.5, 3.0, -1.0) + (frame["job"] == "a")
    table = Table(frame, target="y", task="regression")
    x, y = table.arrays(frame), table.targets(frame)
    losses = {}
    for embedding in ("none", "piecewise_linear"):
        model = networks(table, embedding)(0)
        model.fit(x, y, epochs=30, verbose=0)
        losses[embedding] = model.evaluate(x, y, verbose=0)
    assert losses["piecewise_linear"] < 0.3 * losses["none"]


def test_a_saved_model_of_raw_rows_loads_with_all_its_words(tmp_path):
    frame = with_holes()
    table = read(frame)
    network = networks(table, "piecewise_linear")(0)
    model = table.model(network)
    model.save(tmp_path / "table.keras")
    loaded = keras.saving.load_model(tmp_path / "table.keras")
    raw = tensors(table.raw(frame))
    np.testing.assert_array_equal(loaded.predict(raw, verbose=0), model.predict(raw, verbose=0))


BAD_ROWS = {
    "a column less": (lambda f: f.drop(columns="job"), "must have the column 'job'"),
    "a number as text": (
        lambda f: f.assign(seconds="soon"),
        "Column 'seconds'.*'soon' in data row 1",
    ),
    "no value": (
        lambda f: f.assign(zip=[None, *f["zip"][1:]]),
        "Column 'zip' has no value in data row 1",
    ),
    "an infinity": (lambda f: f.assign(seconds=np.inf), "infinite number in data row 1"),
    "no date": (lambda f: f.assign(born="yesterday"), "Column 'born'.*'yesterday' in data row 1"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_rows_that_cannot_be_read_are_refused(case):
    change, message = BAD_ROWS[case]
    frame = with_holes()
    with pytest.raises(ValueError, match=message):
        read(frame).arrays(change(frame))


def test_bad_tables_are_refused():
    frame = with_holes()
    with pytest.raises(ValueError, match="a column that is of use"):
        Table(frame[["constant"]])
    with pytest.raises(ValueError, match="`frame` must have rows"):
        Table(frame[:0])
    with pytest.raises(ValueError, match="`columns` must be what `read_columns` returns"):
        Table(frame, {"job": "category"})
    with pytest.raises(ValueError, match=r"'job' has \d+ missing values, the first in data row"):
        Table(frame, target="job")
    with pytest.raises(ValueError, match="The target column 'constant' has one class, 1"):
        Table(frame, target="constant")
    with pytest.raises(ValueError, match="'constant' has one value: 1"):
        Table(frame, target="constant", task="regression")
    table = read(frame, "sold", drop="price")
    with pytest.raises(ValueError, match="the class 'maybe' in data row 1"):
        table.targets(frame.assign(sold="maybe"))
    with pytest.raises(ValueError, match="`network` must take rows of"):
        table.model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="`embedding` must be one of 'none'"):
        table.encode(table.inputs(), embedding="plr")
    with pytest.raises(ValueError, match="`target` must name a column"):
        Table(frame).targets(frame)


def test_a_model_tells_how_it_reads_its_columns(tmp_path):
    frame = with_holes()
    table = read(frame)
    inputs = table.inputs()
    model = table.model(keras.Model(inputs, keras.layers.Dense(1)(table.encode(inputs))))
    model.save(tmp_path / "m.keras")
    for one in (table.preprocessing(), model, keras.saving.load_model(tmp_path / "m.keras")):
        found = model_columns(one)
        for column in table.columns.used:
            assert (found[column.name].dtype, found[column.name].order) == (
                column.dtype,
                column.order,
            )
            if column.dtype != "float64":  # A number, or a category with holes.
                assert found[column.name].kind == column.kind
        raw, expected = found.raw(frame), table.raw(frame)
        assert all((raw[name] == expected[name]).all() for name in ("born", "member", "job"))


def test_a_model_that_takes_no_columns_does_not_tell():
    with pytest.raises(ValueError, match="`model` must be a functional model that takes a dict"):
        model_columns(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))


def test_numbers_may_come_as_one_vector():
    generator = np.random.default_rng(2)
    x = generator.lognormal(size=(60, 3)).astype("float32")
    x[::7, 1] = np.nan
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=generator.normal(5, 9, 60))
    table = Table(frame, target="y", task="regression")
    inputs = table.inputs()
    network = keras.Model(inputs, keras.layers.Dense(1)(table.encode(inputs, seed=1)))
    expected = table.model(network).predict(tensors(table.raw(frame)), verbose=0)
    vector = table.vector_model(network)
    assert vector.input_shape == (None, 3)
    np.testing.assert_array_equal(vector.predict(x, verbose=0), expected)
    with pytest.raises(ValueError, match="`network` must take rows of"):
        table.vector_model(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    mixed = read(with_holes())
    with pytest.raises(ValueError, match="A vector has numbers alone, but the column"):
        mixed.vector_model(networks(mixed, "none")(0))
