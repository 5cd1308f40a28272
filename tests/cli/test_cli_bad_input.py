"""What cannot be used is refused: one clear line, code 2, ValueError in the library."""

import dataclasses
import datetime
import decimal
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from helpers.commands import check_refused, command, command_inside, contents
from pyarrow import parquet

from kerasreg import distribute
from kerasreg.cli import _job
from kerasreg.cli._data import Table, load_table
from kerasreg.cli._record import SearchSettings, check_record, read_record
from kerasreg.cli._split import split


def _frame(rows=30):
    """A table that can be used: two features, a label and a price."""
    count = np.arange(rows)
    return pandas.DataFrame(
        {
            "width": count * 0.5,
            "height": np.cos(count),
            "label": np.where(count % 2 == 0, "yes", "no"),
            "price": 100.0 + count * 1.5,
        }
    )


def _csv(**columns):
    """Writes the table with some columns replaced by a list, a value, or one in row 4."""

    def write(path):
        frame = _frame()
        for name, values in columns.items():
            frame[name] = values(frame[name].copy()) if callable(values) else values
        frame.to_csv(path, index=False)

    return write


def _parquet(**columns):
    def write(path):
        frame = _frame()
        for name, values in columns.items():
            frame[name] = values
        frame.to_parquet(path)

    return write


def _in_row_4(value):
    def change(column):
        column.iloc[3] = value
        return column

    return change


def _rows(count):
    return lambda path: _frame(count).to_csv(path, index=False)


def _bytes(content):
    return lambda path: path.write_bytes(content)


def _cut_parquet(path):
    _frame().to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])


def _separated(sep):
    return lambda path: _frame().to_csv(path, sep=sep, index=False)


def _twice_csv(path):
    frame = _frame()
    frame.columns = ["width", "width", "label", "price"]
    frame.to_csv(path, index=False)


def _twice_parquet(path):
    values = pyarrow.array(np.arange(30.0))
    labels = pyarrow.array(["yes", "no"] * 15)
    table = pyarrow.Table.from_arrays([values, values, labels], ["width", "width", "label"])
    parquet.write_table(table, path)


def _longer_rows_csv(path):
    lines = ["width,height,label", *(f"{row},{row + 1},{row % 7},{row % 2}" for row in range(30))]
    path.write_text("\n".join(lines) + "\n")


def _uneven_csv(path):
    lines = ["width,height,label", *(f"{row},{row},yes" for row in range(30))]
    lines[5] += ",more"
    path.write_text("\n".join(lines) + "\n")


def _three_classes(rows):
    def write(path):
        frame = _frame(rows)
        frame["label"] = (["a", "b", "c"] * rows)[:rows]
        frame.to_csv(path, index=False)

    return write


@dataclasses.dataclass(frozen=True)
class Bad:
    """Data that must be refused, and what the message has to name."""

    name: str
    words: tuple[str, ...]
    make: Callable[[Any], None] | None = None
    data: str = "table.csv"
    target: str | None = "label"
    task: str = "auto"
    drop: tuple[str, ...] = ()
    sep: str = ","
    decimal: str = "."
    columns: str | None = None

    def arguments(self):
        arguments = [f"--data={self.data}", f"--task={self.task}"]
        arguments += [f"--sep={self.sep}", f"--decimal={self.decimal}"]
        arguments += [] if self.target is None else [f"--target={self.target}"]
        arguments += [] if self.columns is None else [f"--columns={self.columns}"]
        return arguments + ([f"--drop={','.join(self.drop)}"] if self.drop else [])


BAD = [
    Bad("unknown data set", ("'digit'", "did you mean 'digits'"), data="digit", target=None),
    Bad("nothing like it", ("'houses'", "'wine'"), data="houses", target=None),
    Bad("no such file", ("missing.csv", "No file"), data="missing.csv"),
    Bad("a folder", ("folder.csv", "file"), make=lambda path: path.mkdir(), data="folder.csv"),
    Bad(
        "other extension",
        ("notes.txt", ".csv", ".parquet"),
        make=_rows(30),
        data="notes.txt",
    ),
    Bad("empty file", ("table.csv", "is empty"), make=_bytes(b"")),
    Bad("empty Parquet", ("t.parquet", "is empty"), make=_bytes(b""), data="t.parquet"),
    Bad("blank lines", ("table.csv", "cannot be read as csv"), make=_bytes(b"\n\n\n")),
    Bad("header only", ("table.csv", "at least 10 rows", "0"), make=_rows(0)),
    Bad("no CSV", ("table.csv", "cannot be read as csv"), make=_bytes(b"\xff\xfe\x00\x80" * 99)),
    Bad(
        "no Parquet",
        ("t.parquet", "cannot be read as parquet"),
        make=_bytes(b"\xff\xfe\x00\x80" * 99),
        data="t.parquet",
    ),
    Bad(
        "half a Parquet",
        ("t.parquet", "cannot be read as parquet"),
        make=_cut_parquet,
        data="t.parquet",
    ),
    Bad("uneven rows", ("table.csv", "cannot be read as csv", "line 6"), make=_uneven_csv),
    Bad("rows longer than the header", ("table.csv", "header"), make=_longer_rows_csv),
    Bad("two columns of a name", ("two columns", "'width'"), make=_twice_csv),
    Bad(
        "two Parquet columns of a name",
        ("two columns", "'width'"),
        make=_twice_parquet,
        data="t.parquet",
    ),
    Bad(
        "unknown target",
        ("'lable'", "did you mean 'label'", "'height'"),
        make=_rows(30),
        target="lable",
    ),
    Bad(
        "unknown column to drop",
        ("'widht'", "did you mean 'width'"),
        make=_rows(30),
        drop=("height", "widht"),
    ),
    Bad("no target for a file", ("target", "column"), make=_rows(30), target=None),
    Bad("target for a bundled set", ("target", "'wine'"), data="wine", target="target"),
    Bad("drop of the target", ("drop", "target", "'label'"), make=_rows(30), drop=("label",)),
    Bad(
        "drop of all features",
        ("table.csv", "besides the target 'label'"),
        make=_rows(30),
        drop=("width", "height", "price"),
    ),
    Bad("another separator", ("'label'", "--sep=';'"), make=_separated(";")),
    Bad("another separator yet", ("'label'", "--sep='tab'"), make=_separated("\t"), sep=";"),
    Bad("a comma where none is", ("'label'", "--sep=','"), make=_rows(30), sep=";"),
    Bad("two separators", ("sep", "one character", "'::'"), make=_rows(30), sep="::"),
    Bad("a letter for a separator", ("sep", "one character", "'a'"), make=_rows(30), sep="a"),
    Bad("no separator", ("sep", "one character"), make=_rows(30), sep=""),
    Bad("a separator for two", ("sep", "decimal", "differ"), make=_rows(30), decimal=","),
    Bad(
        "decimal commas",
        ("'width'", "'0,25'", "row 1", "--decimal=,"),
        make=lambda path: (
            _frame()
            .assign(width=lambda frame: frame.width + 0.25)
            .to_csv(path, sep=";", decimal=",", index=False)
        ),
        sep=";",
    ),
    Bad(
        "a separator for Parquet",
        ("sep", ".csv", "t.parquet"),
        make=_parquet(),
        data="t.parquet",
        sep=";",
    ),
    Bad("too few rows", ("table.csv", "at least 10 rows", "9"), make=_rows(9)),
    Bad("one class", ("'label'", "one class", "'yes'", "two"), make=_csv(label="yes")),
    Bad(
        "one class by task",
        ("'price'", "one class", "two"),
        make=_csv(price=1.5),
        target="price",
        task="classification",
        drop=("label",),
    ),
    Bad(
        "one class that is not rare",
        ("'maybe'", "1 of the 2 classes of 'label'", "at least 3 rows", "row 4", "leave"),
        make=_csv(label=lambda column: ["maybe" if k == 3 else "yes" for k in range(len(column))]),
    ),
    Bad(
        "many classes of two rows",
        ("200 of the 200 classes of 'label'", "at least 3 rows", "'k0' has 2", "row 1", "leave"),
        make=lambda path: (
            _frame(400)
            .assign(label=[f"k{row % 200}" for row in range(400)])
            .to_csv(path, index=False)
        ),
    ),
    Bad(
        "one word in a target of numbers",
        ("'price'", "'sold'", "row 4"),
        make=_csv(price=lambda column: ["sold" if v == 104.5 else str(v) for v in column]),
        target="price",
        drop=("label",),
    ),
    Bad(
        "decimal commas in a target",
        ("'price'", "'100,0'", "row 1", "--decimal=,"),
        make=_csv(price=lambda column: [str(v).replace(".", ",") for v in column]),
        target="price",
        drop=("label",),
    ),
    Bad(
        "another encoding",
        ("table.csv", "cannot be read as csv", "UTF-8"),
        make=lambda path: (
            _frame().rename(columns={"width": "größe"}).to_csv(path, index=False, encoding="cp1252")
        ),
    ),
    Bad(
        "no date",
        ("'height'", "'31.2.2020'", "row 5", "day-month-year"),
        make=_csv(height=[f"{31 if row == 4 else 1 + row % 28}.2.2020" for row in range(30)]),
    ),
    Bad(
        "constant regression target",
        ("'price'", "one value", "7.5"),
        make=_csv(price=7.5),
        target="price",
        drop=("label",),
    ),
    Bad("infinite feature", ("'height'", "infinite", "row 4"), make=_csv(height=_in_row_4(np.inf))),
    Bad(
        "feature beyond float32",
        ("'height'", "too large", "row 4"),
        make=_csv(height=_in_row_4(1e39)),
    ),
    Bad(
        "infinite target",
        ("'price'", "infinite", "row 4"),
        make=_csv(price=_in_row_4(np.inf)),
        target="price",
        drop=("label",),
    ),
    Bad(
        "one word in a feature",
        ("'width'", "one of numbers", "'none at all'", "row 5"),
        make=_csv(width=lambda column: ["none at all" if v == 2 else str(v) for v in column]),
    ),
    Bad(
        "no column of use",
        ("table.csv", "a column that is of use"),
        make=lambda path: pandas.DataFrame({"x": "a", "y": ["no", "yes"] * 9}).to_csv(path),
        target="y",
    ),
    Bad(
        "lists as a feature",
        ("'width'", "numbers, text, booleans or dates", "row 1"),
        make=_parquet(width=[[1.0, 2.0]] * 30),
        data="t.parquet",
    ),
    Bad("no file of columns", ("overrides", "none.json'"), make=_rows(30), columns="none.json"),
    Bad(
        "lists as target",
        ("'label'",),
        make=_parquet(label=[[1.0], [2.0, 3.0]] * 15),
        data="t.parquet",
    ),
    Bad(
        "records as target",
        ("'label'",),
        make=_parquet(label=[{"is": 1}, {"is": 2}] * 15),
        data="t.parquet",
    ),
    Bad(
        "dates as target",
        ("'label'",),
        make=_parquet(label=[pandas.Timestamp("2024-05-01"), pandas.Timestamp("2025-05-01")] * 15),
        data="t.parquet",
    ),
    Bad(
        "regression on text",
        ("'label'", "not numeric", "--task=classification"),
        make=_rows(30),
        task="regression",
    ),
    Bad(
        "no classes but a quantity",
        ("'price'", "at least 3 rows", "--task=regression"),
        make=_rows(30),
        target="price",
        task="classification",
        drop=("label",),
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_the_library_raises_a_value_error(tmp_path, monkeypatch, bad):
    monkeypatch.chdir(tmp_path)
    if bad.make is not None:
        bad.make(tmp_path / bad.data)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its words are checked below.
        load_table(
            bad.data, bad.target, bad.task, bad.drop, bad.sep, bad.decimal, columns=bad.columns
        )
    for word in bad.words:
        # The library speaks of its arguments, the command of its flags.
        assert word in str(raised.value)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_the_command_says_it_in_one_line(tmp_path, bad):
    if bad.make is not None:
        bad.make(tmp_path / bad.data)
    before = contents(tmp_path)
    check_refused(
        command_inside("search", *bad.arguments(), "--trials=1", "--epochs=1", cwd=tmp_path),
        *bad.words,
    )
    assert contents(tmp_path) == before


def test_an_unknown_task_or_tuner_is_a_value_error():
    with pytest.raises(ValueError, match=r"`task`.*did you mean 'regression'"):
        load_table("wine", task="regresion")
    settings = _settings(tuner="baysian")
    with pytest.raises(ValueError, match=r"`tuner`.*did you mean 'bayesian'"):
        _job.SearchJob(settings, load_table("wine"), "unused", print)


@pytest.mark.parametrize(("name", "least"), [("trials", 1), ("epochs", 0), ("replicas", 1)])
def test_counts_below_the_least_are_a_value_error(name, least):
    below = least - 1
    match = rf"`{name}` must be a whole number >= {least}.*{name}={below}"
    with pytest.raises(ValueError, match=match):
        _job.SearchJob(_settings(**{name: below}), load_table("wine"), "unused", print).run()


def test_parts_that_cannot_hold_every_class_are_refused(tmp_path):
    # Ten rows of three classes: the test part would be two rows.
    _three_classes(10)(tmp_path / "table.csv")
    with pytest.raises(ValueError, match=r"'table.csv' has too few rows \(10\)"):
        split(load_table(str(tmp_path / "table.csv"), "label"))
    before = contents(tmp_path)
    arguments = ["search", "--data=table.csv", "--target=label", "--trials=1"]
    done = command_inside(*arguments, cwd=tmp_path)
    check_refused(done, "'table.csv'", "too few rows (10)", "a part of 0.2")
    assert contents(tmp_path) == before


def test_more_replicas_than_rows_are_refused(tmp_path):
    arguments = ["search", "--data=wine", "--replicas=64", "--trials=1", "--epochs=1"]
    check_refused(command_inside(*arguments, cwd=tmp_path), "replicas", "64")
    assert list(tmp_path.iterdir()) == []


def test_replicas_that_the_machine_does_not_have_are_refused(tmp_path, monkeypatch):
    # As on a machine with one GPU.
    def mirrored_strategy(replicas):
        raise ValueError(f"`replicas` must be at most 1. Received: replicas={replicas}")

    monkeypatch.setattr(distribute, "mirrored_strategy", mirrored_strategy)
    done = command_inside("search", "--data=wine", "--replicas=2", cwd=tmp_path)
    check_refused(done, "replicas=2")
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_its_own_refuses_with_tensorflow_as_well(tmp_path):
    # The only bad input that is found after TensorFlow has been loaded.
    done = command("search", "--data=wine", "--replicas=64", cwd=tmp_path)
    check_refused(done, "replicas", "64")


# --- The folder of the search ---------------------------------------------------------


def _settings(**changes):
    values = {
        "data": "wine", "target": None, "task": "auto", "drop": (), "sep": ",", "decimal": ".",
        "tuner": "random", "trials": 2, "epochs": 1, "seed": 0, "replicas": 1,
    }  # fmt: skip
    return SearchSettings(**{**values, **changes})


def _write_record(folder, **changes):
    """Writes the record of a search on wine, as it is before its first trial."""
    folder.mkdir(exist_ok=True)
    record = {**dataclasses.asdict(_settings()), "fingerprint": load_table("wine").fingerprint()}
    (folder / "job.json").write_text(json.dumps({**record, **changes}))


# Each takes the folder of the test and returns nothing; the search is to be in `out`.
def _nothing(path):
    pass


def _file(path):
    (path / "out").write_text("mine")


def _below_a_file(path):
    (path / "out").write_text("mine")


def _others_files(path):
    (path / "out").mkdir()
    (path / "out" / "thesis.tex").write_text("mine")


def _search(path):
    _write_record(path / "out")


def _search_with(**changes):
    return lambda path: _write_record(path / "out", **changes)


def _damaged(content):
    def make(path):
        (path / "out").mkdir()
        (path / "out" / "job.json").write_bytes(content)

    return make


FOLDERS = {
    "a file": (_file, ["--output_dir=out"], ["--output_dir", "'out'", "folder"]),
    "below a file": (_below_a_file, ["--output_dir=out/sub"], ["out", "folder"]),
    "no name": (_nothing, ["--output_dir="], ["--output_dir"]),
    "files of others": (_others_files, ["--output_dir=out"], ["--output_dir", "'out'", "empty"]),
    "a search": (_search, ["--output_dir=out"], ["'out'", "--resume", "--output_dir"]),
    "nothing to resume": (_nothing, ["--output_dir=out", "--resume"], ["--resume", "'out'"]),
    "nothing to resume in it": (
        _others_files,
        ["--output_dir=out", "--resume"],
        ["--resume", "'out'"],
    ),
    "other seed": (
        _search,
        ["--output_dir=out", "--resume", "--seed=5"],
        ["--seed=5", "--seed=0", "'out'"],
    ),
    "other tuner": (
        _search,
        ["--output_dir=out", "--resume", "--tuner=grid"],
        ["--tuner=grid", "--tuner=random"],
    ),
    "other data": (
        _search,
        ["--output_dir=out", "--resume", "--data=digits"],
        ["--data=digits", "--data=wine"],
    ),
    "other columns": (
        _search,
        ["--output_dir=out", "--resume", "--drop=alcohol"],
        ["--drop=", "alcohol"],
    ),
    "changed data": (
        _search_with(fingerprint="0" * 64),
        ["--output_dir=out", "--resume"],
        ["--resume", "'wine'", "changed"],
    ),
    "data that is gone": (
        _search_with(data="gone.csv", target="label"),
        ["--output_dir=out", "--resume"],
        ["gone.csv", "No file"],
    ),
    "half a record": (
        _damaged(b'{"data": "wi'),
        ["--output_dir=out", "--resume"],
        ["job.json", "not the record of a search"],
    ),
    "half a record and a new search": (
        _damaged(b'{"data": "wi'),
        ["--output_dir=out"],
        ["job.json", "not the record of a search"],
    ),
    "an empty record": (
        _damaged(b""),
        ["--output_dir=out", "--resume"],
        ["job.json", "not the record of a search"],
    ),
    "a record without entries": (
        _damaged(b'{"drop": []}'),
        ["--output_dir=out", "--resume"],
        ["job.json", "not the record of a search"],
    ),
    "a record with other entries": (
        _search_with(data=5, trials="many"),
        ["--output_dir=out", "--resume"],
        ["job.json", "not the record of a search"],
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_cannot_be_used_stay_as_they_were(tmp_path, case):
    make, arguments, words = FOLDERS[case]
    make(tmp_path)
    before = contents(tmp_path)
    defaults = [] if "--resume" in arguments else ["--data=wine", "--trials=1", "--epochs=1"]
    check_refused(command_inside("search", *defaults, *arguments, cwd=tmp_path), *words)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"drop": 3}',
        b'{"drop": []}',
        b"\xff\xfe{}",
    ],
)
def test_reading_a_damaged_record_is_a_value_error(tmp_path, content):
    (tmp_path / "job.json").write_bytes(content)
    settings = _settings()
    with pytest.raises(ValueError, match=r"job\.json.*is not the record of a search"):
        check_record(str(tmp_path), settings, {"seed"}, resume=True)


def test_checking_a_record_is_a_value_error_or_the_record(tmp_path):
    settings = _settings()
    new = str(tmp_path / "new")
    assert read_record(new) is None
    assert check_record(new, settings, (), resume=False) is None
    with pytest.raises(ValueError, match=r"--resume needs a search in --output_dir.*new"):
        check_record(new, settings, (), resume=True)

    _write_record(tmp_path, drop=["hue"])
    with pytest.raises(ValueError, match=r"already holds a search.*--resume"):
        check_record(str(tmp_path), settings, (), resume=False)
    record = check_record(str(tmp_path), _settings(seed=9), {"data", "tuner"}, resume=True)
    assert record["seed"] == 0
    assert record["drop"] == ("hue",)
    with pytest.raises(ValueError, match=r"--seed=9 differs.*--seed=0"):
        check_record(str(tmp_path), _settings(seed=9), {"seed"}, resume=True)


def test_other_files_in_a_new_folder_are_a_value_error(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"--output_dir must be a new or an empty folder"):
        check_record(str(tmp_path), _settings(), (), resume=False)


@pytest.mark.parametrize(
    "labels",
    [
        [b"a", b"b"],
        [decimal.Decimal("1.5"), decimal.Decimal("2.5")],
        [datetime.date(2024, 5, 1), datetime.date(2025, 5, 1)],
        [datetime.timedelta(1), datetime.timedelta(2)],
    ],
    ids=lambda labels: type(labels[0]).__name__,
)
def test_labels_are_refused_or_can_be_written_to_the_report(tmp_path, labels):
    # Whatever cannot be written must be found here, not after the search.
    frame = _frame().drop(columns="label")
    frame["label"] = labels * 15
    frame.to_parquet(tmp_path / "t.parquet")
    try:
        table = load_table(str(tmp_path / "t.parquet"), "label")
    except ValueError as error:
        assert "'label'" in str(error)  # noqa: PT017 - either outcome is right.
    else:
        assert isinstance(table, Table)
        json.dumps(table.classes)


@pytest.mark.parametrize("flag", ["search --output_dir", "export net.keras --base_dir"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_backend_is_loaded(
    flag, tmp_path, monkeypatch
):
    # Root may write to all folders.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    done = command_inside(*f"{flag}={tmp_path / 'locked' / 'out'}".split(), cwd=tmp_path)
    check_refused(done, flag.split()[-1], "can be written", repr(str(tmp_path)))
