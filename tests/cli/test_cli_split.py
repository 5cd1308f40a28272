"""How a table is divided for a search: a test part, folds or a validation part, groups."""

import dataclasses
import datetime
import decimal

import numpy as np
import pandas
import pytest

from kerasreg.cli import _task
from kerasreg.cli._data import load_table
from kerasreg.cli._record import SearchSettings
from kerasreg.cli._split import search_data

ROWS = 120


@pytest.fixture
def patients(tmp_path):
    generator = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "patient": [f"p{k % 30}" for k in range(ROWS)],
            "age": generator.integers(20, 80, ROWS),
            "weight": generator.normal(70.0, 9.0, ROWS),
            "ill": np.where(np.arange(ROWS) % 30 < 10, "yes", "no"),
            "days": generator.normal(5.0, 2.0, ROWS),
        }
    )
    path = tmp_path / "patients.csv"
    frame.to_csv(path, index=False)
    return str(path)


def job(table, tmp_path, **settings):
    return _task.SearchTask(SearchSettings(**settings), table, str(tmp_path / "out"), print)


@pytest.mark.parametrize("target", ["ill", "days"])
def test_no_group_is_divided(patients, target):
    table = load_table(patients, target, groups="patient")
    assert "patient" not in table.columns
    assert len(np.unique(table.groups)) == 30
    data = search_data(table)
    assert sorted([*data.rows, *data.test_rows]) == list(range(ROWS))
    assert not set(table.groups[data.rows]) & set(table.groups[data.test_rows])
    np.testing.assert_array_equal(data.groups, table.groups[data.rows])
    assert 0.1 < len(data.test_rows) / ROWS < 0.3
    train, validation = data.parts(table, 0.25, 0)
    assert sorted([*train, *validation]) == list(range(len(data.rows)))
    assert not set(data.groups[train]) & set(data.groups[validation])
    if target == "ill":
        assert np.mean(table.y[data.test_rows]) == pytest.approx(1 / 3, abs=0.1)


def test_the_places_of_parts_are_those_of_the_rows(patients):
    table = load_table(patients, "ill")
    data = search_data(table, seed=3)
    train, validation = data.parts(table, 0.25, 3)
    # Stratified, as the whole is.
    assert np.mean(data.y[validation]) == pytest.approx(1 / 3, abs=0.03)
    assert len(validation) == 24
    assert not set(data.rows[train]) & set(data.test_rows)


def test_what_is_served_takes_the_columns_of_the_file(tmp_path):
    frame = pandas.DataFrame({"same": 1.0, "few": np.arange(40) % 3, "x": np.arange(40) / 7})
    frame.assign(y=frame["x"] * 2).to_csv(tmp_path / "t.csv", index=False)
    data = search_data(load_table(str(tmp_path / "t.csv"), "y"))
    # A table of numbers: none of them is a category, and none is left out.
    assert [column.kind for column in data.fitted.columns] == ["number"] * 3
    assert data.x.shape == (32, 3)
    assert np.mean(data.y) == pytest.approx(0.0, abs=1e-6)
    assert np.std(data.y) == pytest.approx(1.0, abs=1e-5)


DAYS = {
    "dates as text": lambda days: [
        f"{2020 + d // 360}-{d // 30 % 12 + 1:02}-{d % 28 + 1:02}" for d in days
    ],
    "dates of pandas": lambda days: pandas.Timestamp("2020-01-01") + pandas.to_timedelta(days, "D"),
    "dates of Python": lambda days: [
        datetime.date(2020, 1, 1) + datetime.timedelta(int(day)) for day in days
    ],
    "numbers": lambda days: days * 0.5,
    "decimals": lambda days: [decimal.Decimal(int(day)) / 2 for day in days],
    "numbers as text": lambda days: [f"{day}" for day in days],
    "days before months": lambda days: [
        f"{d % 28 + 1:02}.{d // 28 % 12 + 1:02}.2020" for d in days
    ],
}


@pytest.fixture
def ordered(tmp_path):
    """A table whose rows have a day, in another order than they are written in."""

    def write(kind="numbers", rows=ROWS, **columns):
        generator = np.random.default_rng(1)
        days = generator.permutation(rows)
        x = generator.normal(size=rows)
        frame = pandas.DataFrame({"day": DAYS[kind](days), "x": x, "town": "ab" * (rows // 2)})
        frame["town"] = np.where(np.arange(rows) % 3, "Ulm", "Bonn")
        frame["y"] = x + 0.01 * days
        path = tmp_path / "t.parquet"
        frame.assign(**columns).to_parquet(path)
        return str(path), days

    return write


@pytest.mark.parametrize("kind", [*DAYS])
@pytest.mark.parametrize("drop", [(), ("day",), ("day", "town")])
def test_the_last_rows_in_time_are_the_test_part(ordered, kind, drop):
    path, days = ordered(kind)
    table = load_table(path, "y", drop=drop, order="day")
    data = search_data(table)
    times = table.times
    assert (np.diff(times[data.rows]) >= 0).all()
    assert times[data.rows].max() <= times[data.test_rows].min()
    assert (len(data.rows), len(data.test_rows)) == (ROWS * 4 // 5, ROWS // 5)
    assert sorted([*data.rows, *data.test_rows]) == list(range(ROWS))
    if kind not in ("dates as text", "days before months"):
        np.testing.assert_array_equal(days[data.rows], np.sort(days)[: len(data.rows)])
    train, validation = data.parts(table, 0.25, 0)
    assert max(train) < min(validation)
    assert len(validation) == len(data.rows) // 4
    assert ("day" in table.columns) == (not drop)


def test_another_order_of_the_rows_is_another_table(ordered):
    path, _ = ordered("numbers")
    table = load_table(path, "y", drop=["day"], order="day")
    assert table.fingerprint() != load_table(path, "y", drop=["day"]).fingerprint()


@pytest.mark.parametrize(("folds", "rows", "count"), [(0, 120, 5), (3, 120, 3), (1, 120, None)])
def test_folds_in_time_validate_the_later_half(ordered, tmp_path, folds, rows, count):
    path, _ = ordered("numbers", rows)
    made = job(load_table(path, "y", order="day"), tmp_path, folds=folds, order="day")
    assert made.folds == count
    if count is None:
        assert len(made.fit_arguments["x"]) == rows * 3 // 5
        return
    parts = list(made.splitter.split(made.data.x))
    assert len(parts) == count
    for train, validation in parts:
        np.testing.assert_array_equal(train, np.arange(min(validation)))
    validated = np.concatenate([validation for _, validation in parts])
    assert rows * 4 // 5 // 2 - count <= len(validated) <= rows * 4 // 5 // 2
    assert max(validated) == rows * 4 // 5 - 1
    samples = made.hypermodel(True).samples
    assert min(len(train) for train, _ in parts) < samples < rows * 4 // 5
    with pytest.raises(ValueError, match=r"`folds` must be at most the number of pairs of rows"):
        job(load_table(path, "y", order="day"), tmp_path, folds=rows, order="day")


NO_ORDER = {
    "missing": ({"day": [None, 1.0, None, *range(117)]}, "order 'day' has no value in data row 1"),
    "infinite": (
        {"day": [1.0, np.inf, *range(118)]},
        "'day' (must|has).* (inf|infinite).* in data row 2",
    ),
    "the same": ({"day": 7.0}, "'day' has one value, 7.0: its rows have no order"),
    "Booleans": ({"day": np.arange(ROWS) % 2 == 0}, "dates or numbers; it has True"),
    "text": ({"day": "Monday"}, "'day'.*'Monday' in data row 1"),
    "months": (
        {"day": [f"20{k // 12 + 10}-{k % 12 + 1:02}" for k in range(ROWS)]},
        "'2010-01' in data row 1",
    ),
    "a bad date": ({"day": ["2020-02-30", *["2020-01-01"] * 119]}, "'day'.*'2020-02-30'.*row 1"),
}


@pytest.mark.parametrize("case", NO_ORDER)
@pytest.mark.parametrize("drop", [(), ("day",)])
def test_a_column_that_has_no_order_is_refused(ordered, case, drop):
    columns, match = NO_ORDER[case]
    path, _ = ordered("numbers", **columns)
    with pytest.raises(ValueError, match=match):
        load_table(path, "y", drop=drop, order="day")


def test_order_and_what_contradicts_it_are_refused(ordered):
    path, _ = ordered("numbers")
    with pytest.raises(ValueError, match="`order` and `groups` cannot both be given"):
        load_table(path, "y", order="day", groups="town")
    with pytest.raises(ValueError, match="`order` must not be the target"):
        load_table(path, "y", order="y")
    with pytest.raises(ValueError, match="`order` must be one of"):
        load_table(path, "y", order="date")


@pytest.fixture
def rare(tmp_path):
    """A table with two classes of many rows, one of two rows, and two of one."""
    y = ["one"] * 60 + ["two"] * 40 + ["three"] * 2 + ["four", "five"]
    x = np.random.default_rng(0).normal(size=len(y))
    frame = pandas.DataFrame({"x": x, "y": y, "group": np.arange(len(y)) // 4})
    frame.to_csv(tmp_path / "t.csv", index=False)
    return str(tmp_path / "t.csv")


def test_rare_classes_are_to_train_with(rare, tmp_path):
    table = load_table(rare, "y", drop=["group"])
    (note,) = table.notes
    assert note == (
        "4 rows are of 3 classes of 'y' with fewer than 3 rows, such as 'five' in data row 104: to "
        "train with, and in no test part: no score tells how well they are predicted"
    )
    made = job(table, tmp_path, folds=1)
    labels = np.array(table.classes)[table.y]
    of_test = labels[made.data.test_rows]
    assert {label: int((of_test == label).sum()) for label in set(of_test)} == {"one": 12, "two": 8}
    assert set(np.array(table.classes)[made.fit_arguments["validation_data"][1]]) == {"one", "two"}
    assert {"three", "four", "five"} <= set(np.array(table.classes)[made.fit_arguments["y"]])
    assert sorted([*made.data.rows, *made.data.test_rows]) == list(range(len(labels)))
    (note,) = load_table(rare, "y", groups="group").notes
    assert note.endswith("there may be none of them to train with")
    search_data(load_table(rare, "y", groups="group"))


def test_a_part_with_more_classes_than_rows_has_some_of_them(tmp_path):
    y = np.arange(400) % 100
    frame = pandas.DataFrame({"x": np.arange(400) / 7, "y": [f"c{label}" for label in y]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = load_table(str(tmp_path / "t.csv"), "y", drop=[])
    data = search_data(table)
    assert (len(data.rows), len(data.test_rows)) == (320, 80)
    assert len(set(data.y)) > 90


FOLDS = [
    ({}, 8),
    ({"folds": 3}, 3),
    ({"folds": 1}, None),
    ({"replicas": 2}, None),
    ({"groups": "patient"}, 8),
]


@pytest.mark.parametrize(("settings", "folds"), FOLDS)
def test_folds_are_as_many_as_asked_for_or_as_the_rows_allow(patients, tmp_path, settings, folds):
    table = load_table(patients, "ill", groups=settings.get("groups"))
    made = object.__new__(_task.SearchTask)
    made.settings, made.table = SearchSettings(**settings), table
    made.data = search_data(table)
    assert made._folds() == folds


@pytest.mark.parametrize(
    ("rows", "folds"), [(10, 2), (40, 5), (999, 8), (1000, 5), (50_000, 5), (50_001, None)]
)
def test_large_tables_have_fewer_folds(patients, rows, folds):
    made = object.__new__(_task.SearchTask)
    made.settings = SearchSettings()
    made.data = dataclasses.replace(
        search_data(load_table(patients, "ill")), y=np.zeros(rows), groups=None
    )
    assert made._folds() == folds


def test_what_cannot_be_divided_is_refused(patients, tmp_path):
    table = load_table(patients, "ill", groups="patient")
    with pytest.raises(ValueError, match=r"`folds` must be at most the number of groups .*, 24"):
        job(table, tmp_path, groups="patient", folds=25)
    with pytest.raises(ValueError, match="`folds` must be 0 or 1 with several replicas"):
        job(table, tmp_path, replicas=2, folds=3)
    with pytest.raises(ValueError, match="`time` must be a number of seconds > 0"):
        job(table, tmp_path, time="soon")
    with pytest.raises(ValueError, match="`groups` must be neither the target nor dropped"):
        load_table(patients, "ill", groups="ill")
    with pytest.raises(ValueError, match="`groups` must be one of"):
        load_table(patients, "ill", groups="patients")
    with pytest.raises(ValueError, match="`drop` must be one of"):
        load_table(patients, "ill", drop=["patients"])
    with pytest.raises(ValueError, match=r"`target` must be one of .*did you mean 'ill'"):
        load_table(patients, "il")
    frame = pandas.read_csv(patients)
    frame.assign(patient=frame["patient"].where(frame.index != 4)).to_csv(patients, index=False)
    with pytest.raises(ValueError, match="'patient' has no value in data row 5"):
        load_table(patients, "ill", groups="patient")
    frame.assign(patient="a").to_csv(patients, index=False)
    with pytest.raises(ValueError, match="'patient' must have at least 3 groups"):
        load_table(patients, "ill", groups="patient")
