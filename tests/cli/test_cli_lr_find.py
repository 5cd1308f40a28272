"""`kerasreg lr-find`: learning rates for a table, from the command line."""

import re

import keras
import numpy as np
import pytest
from helpers.commands import command, command_inside

from kerasreg import callbacks

FLAGS = (
    "data", "target", "task", "drop", "columns", "sep", "decimal", "model", "optimizer", "depth",
    "width", "batch_size", "seed", "low", "high", "steps", "plot",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a table, a model for it, and models that are not."""
    path = tmp_path_factory.mktemp("lr_find")
    x = np.random.default_rng(0).normal(size=(200, 2))
    rows = "\n".join(f"{a},{b},{3 * a - b}" for a, b in x)
    (path / "table.csv").write_text(f"a,b,price\n{rows}\n")
    for name, features, compiled in (
        ("model", 2, True),
        ("wide", 3, True),
        ("uncompiled", 2, False),
    ):
        model = keras.Sequential([keras.Input((features,)), keras.layers.Dense(1)], name=name)
        if compiled:
            model.compile("sgd", "mse")
        model.save(path / f"{name}.keras")
    (path / "text.keras").write_text("no model")
    return path


def rates(out):
    return {
        name: float(value)
        for name, value in re.findall(r"^(valley|steepest|minimum) +(\S+)$", out, re.MULTILINE)
    }


@pytest.mark.long
def test_a_process_of_its_own_says_which_rates_suit_and_is_quiet(folder, tmp_path):
    arguments = [f"--data={folder / 'table.csv'}", "--target=price", "--optimizer=sgd"]
    done = command("lr-find", *arguments, "--plot=rates.png", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "120 rows to train on, 2 features; dense" in done.out
    found = rates(done.out)
    # With any of them plain gradient descent converges on such a table.
    assert 1e-5 < found["valley"] < 1.0
    assert 1e-3 < found["steepest"] < 2.0
    assert done.out.endswith("wrote rates.png\n")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]


def test_every_flag_reaches_the_test(folder, tmp_path, monkeypatch):
    seen = {}

    def recording(model, x, y, **options):
        seen.update(options, model=model, x=x)
        return found(model, x, y, **options)

    found = callbacks.find_learning_rate
    monkeypatch.setattr(callbacks, "find_learning_rate", recording)
    flags = [f"--data={folder / 'table.csv'}", "--target=price", "--drop=b", "--task=regression"]
    flags += ["--optimizer=rmsprop", "--depth=3", "--width=5", "--batch_size=16", "--low=1e-5"]
    done = command_inside("lr-find", *flags, "--high=0.5", "--steps=6", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert (seen["batch_size"], seen["low"], seen["high"], seen["steps"]) == (16, 1e-5, 0.5, 6)
    assert seen["x"].shape == (120, 1)
    assert type(seen["model"].optimizer) is keras.optimizers.RMSprop
    units = [one.units for one in seen["model"].layers if isinstance(one, keras.layers.Dense)]
    assert units == [5, 5, 5, 1]


def test_the_same_seed_gives_the_same_rates_and_another_one_others(tmp_path):
    outs = [
        command_inside("lr-find", "--data=wine", "--steps=20", f"--seed={seed}", cwd=tmp_path).out
        for seed in (3, 3, 4)
    ]
    assert outs[0] == outs[1]
    assert rates(outs[0])
    assert outs[0] != outs[2]


def test_a_saved_model_is_tested_and_left_as_it_is(folder, tmp_path):
    before = (folder / "model.keras").read_bytes()
    arguments = [f"--data={folder / 'table.csv'}", "--target=price"]
    done = command_inside("lr-find", *arguments, f"--model={folder / 'model.keras'}", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].endswith("; model")
    assert set(rates(done.out)) == {"valley", "steepest", "minimum"}
    assert (folder / "model.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--low=0"], "`low` must be a number > 0"),
        (["--low=1", "--high=0.5"], "`high` must be a number > 1"),
        (["--steps=4"], "--steps=4"),
        (["--optimizer=adan"], "did you mean 'adam'"),
        (["--plot=rates.pdf"], "`path` must end with .png or .svg"),
        (["--model=no.keras"], "`model` must be a .keras file"),
        (["--model={folder}/text.keras"], "that Keras can load"),
        (["--model={folder}/wide.keras"], "must take the 2 features"),
        (["--model={folder}/uncompiled.keras"], "compiled before it was saved"),
        (["--low=5", "--high=10"], "`low` must be a rate with which the loss does not explode"),
        (["more"], "unexpected argument 'more'"),
    ],
)
def test_bad_input_is_one_line_and_code_two(folder, tmp_path, arguments, said):
    data = [f"--data={folder / 'table.csv'}", "--target=price", "--optimizer=sgd"]
    given = [argument.format(folder=folder) for argument in arguments]
    done = command_inside("lr-find", *data, *given, cwd=tmp_path)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert said in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("size", "big", "Column 'size' is one of numbers, but has 'big' in data row 5"),
        (
            "built",
            "31.2.2020",
            "Column 'built' is one of dates, day-month-year, but has '31.2.2020' in",
        ),
        ("price", "dear", "Column 'price' is not numeric: it has 'dear' in data row 5"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_with_its_row(tmp_path, column, value, said):
    header, rows = ["size", "built", "price"], []
    for row in range(40):
        rows.append([str(row * 1.5), f"{1 + row % 28}.{1 + row % 12}.2020", str(100 + row * 1.25)])
    rows[4][header.index(column)] = value
    lines = [",".join(line) for line in (header, *rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    done = command_inside("lr-find", "--data=t.csv", "--target=price", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert said in done.err


def test_help_lists_every_flag_with_its_default(tmp_path):
    done = command_inside("lr-find", "--help", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    listed = re.findall(r"^  --(\w+) \(default: .+\)\n      \S.+", done.out, re.MULTILINE)
    assert tuple(listed) == FLAGS
    assert max(map(len, done.out.splitlines())) <= 100
    assert re.search(r"^  lr-find +test", command_inside("--help", cwd=tmp_path).out, re.MULTILINE)
