"""Models beside the networks of a search: what scikit-learn itself says of the same rows."""

import sys
import types

import numpy as np
import pandas
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from kerasreg.cli import _baselines
from kerasreg.cli._baselines import baselines
from kerasreg.cli._data import Table, load_table
from kerasreg.cli._scores import score

ROWS = 120
TRAIN, TEST = np.arange(90), np.arange(90, ROWS)


def frame():
    """Numbers with holes, a category, booleans and dates, of which all matter."""
    rng = np.random.default_rng(0)
    size, town = rng.normal(size=ROWS), rng.choice(["Ulm", "Bonn", "Köln"], ROWS)
    day, member = rng.integers(0, 3000, ROWS), rng.random(ROWS) < 0.5
    found = pandas.DataFrame(
        {
            "size": np.where(rng.random(ROWS) < 0.1, np.nan, size),
            "town": np.where(rng.random(ROWS) < 0.1, "", town),
            "since": (pandas.Timestamp("2015-01-01") + pandas.to_timedelta(day, "D")).strftime(
                "%d.%m.%Y"
            ),
            "member": pandas.Series(member, dtype=object).where(rng.random(ROWS) > 0.1, None),
            "rooms": rng.integers(1, 4, ROWS),
        }
    )
    noise = 0.1 * rng.normal(size=ROWS)
    found["price"] = 3 * size + 4 * (town == "Ulm") + day / 1000 + 2 * member + noise
    found["dear"] = np.where(found["price"] > found["price"].median(), "yes", "no")
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("baselines") / "t.csv"
    frame().to_csv(file, index=False)
    return str(file)


def test_on_plain_numbers_they_are_scikit_learns():
    table = load_table("wine")
    rows = np.random.default_rng(0).permutation(len(table.y))
    train, test = rows[:100], rows[100:]
    found = baselines(table, train, test)
    scale = StandardScaler().fit(table.x[train].astype("float64"))
    model = LogisticRegression().fit(scale.transform(table.x[train]), table.y[train])
    expected = model.predict_proba(scale.transform(table.x[test].astype("float64")))
    np.testing.assert_allclose(found["linear"], expected, atol=1e-4)
    assert list(found)[:2] == ["linear", "HistGradientBoosting"]
    assert score(table.y[test], found["HistGradientBoosting"], True)["accuracy"] > 0.85


def test_classes_of_one_row_or_of_none_to_train_with_cost_no_model():
    # Of so many rows, scikit-learn sets a part aside.
    rng = np.random.default_rng(0)
    y = np.where(rng.random(10_100) < 0.5, 1, 2)
    y[0], y[10_050] = 0, 3
    x = (rng.normal(size=(len(y), 2)) + y[:, None]).astype("float32")
    table = Table("t", x, y, ("a", "b"), ("w", "x", "y", "z"))
    train, test = np.arange(10_050), np.arange(10_050, len(y))
    left_out = []
    names = ("linear", "HistGradientBoosting")
    found = baselines(table, train, test, names=names, left_out=left_out.append)
    assert (list(found), left_out) == (list(names), [])
    for outputs in found.values():
        assert outputs.shape == (50, 4)
        np.testing.assert_allclose(outputs.sum(axis=1), 1.0, atol=1e-6)
        assert (outputs[:, 3] == 0).all()
        scores = score(y[test], outputs, True)
        assert np.isfinite(list(scores.values())).all()
        assert scores["accuracy"] > 0.5


def test_a_regression_is_one_of_raw_units():
    table = load_table("diabetes")
    train, test = np.arange(300), np.arange(300, 442)
    found = baselines(table, train, test)
    x = table.x.astype("float64")
    scale = StandardScaler().fit(x[train])
    ridge = Ridge().fit(scale.transform(x[train]), table.y[train])
    np.testing.assert_allclose(found["linear"], ridge.predict(scale.transform(x[test])), rtol=1e-5)
    trees = HistGradientBoostingRegressor(random_state=0).fit(x[train], table.y[train])
    np.testing.assert_allclose(found["HistGradientBoosting"], trees.predict(x[test]), rtol=1e-6)


def test_columns_of_every_kind_are_used(path):
    table = load_table(path, "price", drop=["dear"])
    found = baselines(table, TRAIN, TEST)
    assert score(table.y[TEST], found["linear"], False)["r2"] > 0.8
    # Without a column that matters it is worse: each was used.
    for name in ("town", "since", "member", "size"):
        less = load_table(path, "price", drop=["dear", name])
        worse = baselines(less, TRAIN, TEST)["linear"]
        assert (
            score(table.y[TEST], worse, False)["rmse"]
            > score(table.y[TEST], found["linear"], False)["rmse"]
        )


def test_what_training_has_not_seen_is_answered(path, tmp_path):
    changed = frame()
    changed.loc[95, ["town", "size", "since", "member"]] = ["Hof", 1e6, "", None]
    # A column without a value, and one without a category, in all of training.
    changed["late"] = np.where(changed.index < 90, np.nan, 1.0)
    changed["note"] = np.where(changed.index < 90, "", "new")
    changed.to_csv(tmp_path / "t.csv", index=False)
    table = load_table(
        str(tmp_path / "t.csv"),
        "dear",
        drop=["price"],
    )
    lines = []
    found = baselines(table, TRAIN, TEST, left_out=lines.append)
    assert lines == []
    for outputs in found.values():
        assert outputs.shape == (30, 2)
        np.testing.assert_allclose(outputs.sum(axis=1), 1)


def test_a_class_without_a_row_of_training_has_no_probability(path):
    table = load_table("wine")
    train = np.flatnonzero(table.y != 1)
    for outputs in baselines(table, train, np.flatnonzero(table.y == 1)).values():
        assert outputs.shape == (71, 3)
        assert (outputs[:, 1] == 0).all()


def test_more_categories_than_trees_take_are_one_together(tmp_path):
    rng = np.random.default_rng(0)
    place = rng.integers(0, 400, 3000)
    rows = pandas.DataFrame({"place": [f"p{k}" for k in place], "y": (place < 30) * 1.0})
    rows["y"] += rng.normal(size=3000) * 0.01
    rows.to_csv(tmp_path / "t.csv", index=False)
    table = load_table(str(tmp_path / "t.csv"), "y")
    found = baselines(table, np.arange(2500), np.arange(2500, 3000))
    assert set(found) >= {"linear", "HistGradientBoosting"}
    assert score(table.y[2500:], found["linear"], False)["r2"] > 0.9


def test_a_model_that_fails_costs_itself_alone(monkeypatch, path):
    def broken(*arguments):
        raise RuntimeError("no memory\nmore")

    monkeypatch.setitem(_baselines._MODELS, "HistGradientBoosting", broken)
    lines = []
    found = baselines(load_table("wine"), np.arange(0, 178, 2), TEST, left_out=lines.append)
    assert "linear" in found
    assert "HistGradientBoosting" not in found
    assert lines == ["HistGradientBoosting is left out: RuntimeError: no memory"]


def test_only_some_models_are_trained_and_none_when_the_time_is_over():
    lines = []
    table, train = load_table("wine"), np.arange(0, 178, 2)
    assert list(baselines(table, train, TEST, names=["linear"], left_out=lines.append)) == [
        "linear"
    ]
    assert lines == []
    found = baselines(table, train, TEST, names=["linear"], seconds=0, left_out=lines.append)
    assert found == {}
    (line,) = lines
    assert line.startswith("linear is left out: the time for such models")


class Recorder:
    """Stands for a model of a package that may not be installed."""

    made = ()

    def __init__(self, **arguments):
        type(self).made = (*type(self).made, self)
        self.arguments = arguments

    def fit(self, x, y, **more):
        self.x, self.y, self.more = x, y, more
        return self

    def predict(self, x):
        self.asked = x
        return np.zeros(len(x))

    def predict_proba(self, x):
        self.asked = x
        return np.full((len(x), self.y.max() + 1), 1 / (self.y.max() + 1))


@pytest.mark.parametrize(
    ("package", "name", "classes"),
    [
        ("lightgbm", "LightGBM", ("LGBMClassifier", "LGBMRegressor")),
        ("catboost", "CatBoost", ("CatBoostClassifier", "CatBoostRegressor")),
        ("xgboost", "XGBoost", ("XGBClassifier", "XGBRegressor")),
    ],
)
@pytest.mark.parametrize("target", ["dear", "price"])
def test_packages_that_are_installed_get_categories_and_holes_as_they_are(
    monkeypatch, path, package, name, classes, target
):
    module = types.ModuleType(package)
    kind = type("Kind", (Recorder,), {})
    setattr(module, classes[target == "price"], kind)
    monkeypatch.setitem(sys.modules, package, module)
    module.__spec__ = types.SimpleNamespace(name=package)
    table = load_table(path, target, drop=["dear" if target == "price" else "price"])
    lines = []
    found = baselines(table, TRAIN, TEST, seed=7, left_out=lines.append)
    assert lines == []
    assert found[name].shape == ((30,) if target == "price" else (30, 2))
    (model,) = kind.made
    assert 7 in model.arguments.values()
    assert len(model.x) == 90
    assert len(model.asked) == 30
    assert model.x["number_0"].isna().sum() == frame()["size"][:90].isna().sum()
    towns = model.x["category_0"]
    if package == "catboost":
        assert model.more["cat_features"] == ["category_0"]
        assert set(towns) == {"Ulm", "Bonn", "Köln", ""}
    else:
        assert towns.dtype == "category"
        assert towns.isna().sum() == (frame()["town"][:90] == "").sum()
        assert model.asked["category_0"].dtype == towns.dtype


def test_packages_that_are_missing_are_passed_over(monkeypatch):
    for package in ("lightgbm", "catboost", "xgboost"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(_baselines.importlib.util, "find_spec", lambda name: None)
    lines = []
    found = baselines(load_table("wine"), np.arange(0, 178, 2), TEST, left_out=lines.append)
    assert list(found) == ["linear", "HistGradientBoosting"]
    assert lines == []
