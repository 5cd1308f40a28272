"""How columns are read, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from kerasreg.tables import Column, Columns, read_columns

ROWS = 40


def frame(**columns):
    return pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})


def kind(values, name="x", **overrides):
    column = read_columns(frame(**{name: values}), overrides=overrides or None)[name]
    return column.kind, column.dtype


def repeated(*values):
    return [values[k % len(values)] for k in range(ROWS)]


KINDS = {
    "floats": (repeated(0.5, 1.5, np.nan), "number", "float32"),
    "whole numbers": (repeated(3, 1, 2), "number", "float32"),
    "nullable whole numbers": (pd.array([3, None, 4], "Int64"), "number", "float32"),
    "seconds since 1970": (1.7e9 + 7 * np.arange(ROWS) ** 2, "number", "float64"),
    "numbers as text": (repeated("1.5", "2", "", "-3e2"), "number", "float32"),
    "numbers with marks of holes": (repeated("1.5", "2", "?", "7"), "number", "float32"),
    "many marks": (repeated("?", "2.5", " ? ", "n/a"), "number", "float32"),
    "cylinders": (repeated("4", "6", "8", "rotary", "4", "6"), "category", "string"),
    "marks alone": (repeated("?", "-"), "category", "string"),
    "codes": (repeated("007", "12", "99"), "category", "string"),
    "booleans": (repeated(True, False), "boolean", "bool"),
    "booleans with holes": (repeated(True, False, None), "boolean", "string"),
    "nullable booleans": (pd.array([True, None, False], "boolean"), "boolean", "string"),
    "text": (repeated("a", "b", None, ""), "category", "string"),
    "one text, or none": (repeated("a", None), "category", "string"),
    "categories of text": (pd.Categorical(repeated("a", "b")), "category", "string"),
    "categories of numbers": (pd.Categorical(repeated(3, 5)), "category", "int64"),
    "dates": (pd.date_range("2026-01-01", periods=ROWS), "date", "string"),
    "dates as text": (repeated("2026-01-31", "1999-12-01 12:30", ""), "date", "string"),
    "days first": (repeated("31.01.2026", "01.12.1999"), "date", "string"),
    "a constant": (repeated(3.0), "dropped", ""),
    "nothing": (repeated(None), "dropped", ""),
    "numbers of rows": (np.arange(ROWS) + 1, "dropped", ""),
    "free text": ([f"number {k} of {ROWS}" for k in range(ROWS)], "dropped", ""),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds_of_columns(case):
    values, *expected = KINDS[case]
    assert kind(values) == tuple(expected)


def test_whole_numbers_that_differ_are_an_identifier_by_their_name_alone():
    numbers = np.arange(ROWS) ** 2
    assert kind(numbers, "customer_id")[0] == "dropped"
    assert kind(numbers, "customerID")[0] == "dropped"
    assert kind(numbers, "area")[0] == "number"
    assert kind(numbers, "paid")[0] == "number"  # It only ends so.
    assert kind(repeated(1, 2), "customer_id")[0] == "number"


def test_the_order_of_a_date_is_the_one_that_fits():
    def order(*texts):
        return read_columns(frame(x=list(texts)))["x"]

    assert order("01/02/2026", "31/12/2026").order == "day-month-year"
    assert order("01/02/2026", "12/31/2026").order == "month-day-year"
    both = order("01/02/2026", "03/04/2026")
    assert both.order == "day-month-year"
    assert "the month may as well be first" in both.reason


def test_marks_of_missing_numbers_are_said_and_are_holes():
    values = [*repeated("1.5", "2", "?"), "7"]
    columns = read_columns(frame(x=values))
    assert columns["x"].reason == "numbers as text, where '?' is missing"
    assert columns["x"].missing == values.count("?")
    found = columns.raw(frame(x=["3", "?", None, "N/A", "-"]))["x"]
    np.testing.assert_array_equal(found, np.array([3, *[np.nan] * 4], "float32"))


def test_few_values_that_are_not_all_numbers_are_categories_and_that_is_said():
    column = read_columns(frame(x=repeated("4", "6", "8", "rotary", "4")))["x"]
    assert column.reason == "text of 4 values, not all numbers: 'rotary'"


def test_many_categories_are_grouped_and_that_is_said():
    rng = np.random.default_rng(0)
    column = read_columns(frame(x=[f"v{k}" for k in rng.integers(0, 10_000, 60_000)]))["x"]
    assert column.kind == "category"
    assert column.values > 9_000
    assert "all but the 256 most frequent are one" in column.reason


MISTAKES = {
    "thousands": (
        repeated("12", "1.234,5", "2.345.678"),
        "has '1.234,5' in data row 2: leave out what separates thousands",
    ),
    "thousands with commas": (repeated("1,234", "2,345"), "'1,234' in data row 1.*thousands"),
    "numbers but one": (
        [*(str(k / 2) for k in range(ROWS)), "many"],
        "one of numbers, but has 'many' in data row 41",
    ),
    "decimal commas": (repeated("1,5", "2,25"), "'1,5' in data row 1: where a comma separates"),
    "dates but one": ([*repeated("2026-01-31"), "2026-02-30"], "'2026-02-30' in data row 41"),
    "several types": ([*repeated("a", "b"), 3], "the first number is 3 in data row 41"),
    "infinity": ([*repeated(1.0, 2.0), np.inf], "an infinite number in data row 41"),
    "lists": ([*repeated("a"), [1, 2]], r"it has \[1, 2\] in data row 41|it has 'a' in data row 1"),
    "durations": (pd.to_timedelta(np.arange(3), "h"), "numbers, text, booleans or dates"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_the_column_and_the_row_of_a_mistake_are_said(case):
    values, message = MISTAKES[case]
    with pytest.raises(ValueError, match=f"Column 'x'.*({message})"):
        read_columns(frame(x=values))


def test_overrides_are_taken_from_dictionaries_files_and_what_was_returned(tmp_path):
    rows = frame(a=repeated(1, 2), b=repeated("01/02/2026", "02/03/2026"), c=repeated("x", "y"))
    found = read_columns(
        rows, overrides={"a": "category", "b": {"kind": "date", "order": "month-day-year"}}
    )
    assert [column.kind for column in found] == ["category", "date", "category"]
    assert found["b"].order == "month-day-year"
    path = tmp_path / "columns.json"
    path.write_text(json.dumps(found.to_dict()), encoding="utf-8-sig")
    assert read_columns(rows, overrides=path).to_dict()["columns"]["a"]["kind"] == "category"
    assert read_columns(rows, overrides=found)["b"].order == "month-day-year"
    assert read_columns(rows, overrides={"c": "dropped"}).used == read_columns(rows).columns[:2]


REFUSED = {
    "no column": ({"z": "number"}, "`overrides` must be one of 'a', 'c'.*overrides='z'"),
    "no kind": ({"a": "text"}, r"`overrides\['a'\]` must be one of 'number'.*'text'"),
    "no order": ({"a": {"kind": "date", "order": "d-m-y"}}, "must be one of 'year-month-day'"),
    "another key": ({"a": {"type": "date"}}, "`overrides` of 'a' must be one of"),
    "a list": (["a"], "`overrides` must be a dictionary"),
    "no file": ("none.json", "'none.json' cannot be read as JSON"),
    "text as numbers": ({"c": "number"}, "Column 'c'.*'x' in data row 1"),
    "text as dates": ({"c": "date"}, "Column 'c'.*'x' in data row 1"),
    "text as booleans": ({"c": "boolean"}, "Column 'c' cannot be read as booleans: it has 'x'"),
    "fractions as categories": ({"a": "category"}, "Column 'a'.*1.5 in data row 1, which is no wh"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_overrides_that_cannot_be_are_refused(case):
    overrides, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        read_columns(frame(a=repeated(1.5, 2.0), c=repeated("x", "y")), overrides=overrides)


def test_a_table_without_names_or_with_equal_ones_is_refused():
    with pytest.raises(ValueError, match="`frame` must be a pandas DataFrame"):
        read_columns({"a": [1]})
    with pytest.raises(ValueError, match="'a' twice"):
        read_columns(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(ValueError, match="a column named 0"):
        read_columns(pd.DataFrame([[1, 2]]))
    with pytest.raises(ValueError, match="`target` must be one of 'a'"):
        read_columns(pd.DataFrame({"a": [1, 2]}), "b")


RAW = {
    "a number as text": ("number", "float32", ["7", 8.0, None], [7.0, 8.0, np.nan]),
    "a category": ("category", "string", ["a", None, 3.0], ["a", "", "3"]),
    "a code": ("category", "int64", [1.0, "2", 3], [1, 2, 3]),
    "a code with holes": ("category", "float64", [1, None, 3], [1.0, np.nan, 3.0]),
    "booleans as text": ("boolean", "bool", ["TRUE", "false", True], [True, False, True]),
    "booleans as numbers": ("boolean", "bool", [1, 0, 1.0], [True, False, True]),
    "booleans with holes": ("boolean", "string", [True, None, "false"], ["True", "", "False"]),
    "dates of pandas": (
        "date",
        "string",
        pd.to_datetime(["2026-01-31", None]),
        ["31-01-2026T00:00:00", ""],
    ),
}


@pytest.mark.parametrize("case", RAW)
def test_raw_rows_are_of_the_types_that_a_model_takes(case):
    kind, dtype, values, expected = RAW[case]
    order = "day-month-year" if kind == "date" else ""
    columns = Columns((Column("x", kind, dtype, "", order=order),))
    found = columns.raw(frame(x=values))["x"]
    assert found.dtype == (object if dtype == "string" else dtype)
    np.testing.assert_array_equal(found, np.array(expected, found.dtype))


RAW_MISTAKES = {
    "no column": ("number", "float32", None, "must have the column 'x'"),
    "no number": (
        "number",
        "float32",
        [1, "much", 3],
        "'x' is one of numbers, but has 'much' in d",
    ),
    "too large": (
        "number",
        "float32",
        [1.0, 1e300],
        "has 1e\\+300 in data row 2, which is too large",
    ),
    "half a code": ("category", "int64", [1, 2.5], "has 2.5 in data row 2, which is no whole"),
    "no code": ("category", "int64", [1, None], "no value in data row 2"),
    "no boolean": ("boolean", "string", [True, "maybe"], "booleans, but has 'maybe' in data row 2"),
    "another number": ("boolean", "bool", [1, 0, 2], "booleans, but has 2 in data row 3"),
    "a boolean that is missing": ("boolean", "bool", [True, None], "no value in data row 2"),
    "no date": ("date", "string", ["1.2.2020", "30.2.2020"], "'30.2.2020' in data row 2"),
    "another order": ("date", "string", ["2020-02-01"], "day-month-year, but has '2020-02-01'"),
}


@pytest.mark.parametrize("case", RAW_MISTAKES)
def test_the_column_and_the_row_of_what_a_model_cannot_take_are_said(case):
    kind, dtype, values, message = RAW_MISTAKES[case]
    order = "day-month-year" if kind == "date" else ""
    columns = Columns((Column("x", kind, dtype, "", order=order),))
    given = frame(y=[1]) if values is None else pd.DataFrame({"x": pd.Series(values, dtype=object)})
    with pytest.raises(ValueError, match=message):
        columns.raw(given)
