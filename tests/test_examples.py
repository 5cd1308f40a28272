"""Every script in examples/, and the code in the README, runs and says what it should."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = {
    "adaptive_dropout.py": r"dropout 0.0: .* 1\.\d+\n(.*\n)+dropout adaptive: .* 0.9\d",
    "averages.py": r"SGD: test loss [3-9]\.\d+.*\n(.*\n)+mean of the weights: test loss [12]\.",
    "schedules.py": r"OneCycle\(1, 400\): 0.040 at first, 0.000 at step 400",
    "train_dense.py": r"test accuracy 0\.9\d",
    "prune_digits.py": r"units removed: [78]\d\.\d%.*\n.*\ntest accuracy: 0\.9\d.* 0\.9\d\d with",
    "search_digits.py": r"best model: val_loss \d\.\d+, val_accuracy 0\.9\d",
    "serve_savedmodel.py": r"versions: \[1\]; verified: True\nserved 178 rows, (9\d|100)%",
}


def run_python(arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_every_example_is_run():
    # The scripts of recipes are run in test_recipes.py.
    pages = (ROOT / "docs" / "recipes").glob("*.md")
    recipes = {f"{page.stem.replace('-', '_')}.py" for page in pages if page.stem != "index"}
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {*EXAMPLES, *recipes}
    assert not recipes & set(EXAMPLES)


@pytest.mark.long
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs(name, tmp_path):
    process = run_python([str(ROOT / "examples" / name)], tmp_path)
    assert process.returncode == 0, process.stderr
    assert re.search(EXAMPLES[name], process.stdout), process.stdout
    # Some draw a picture, and none leaves anything else.
    picture = tmp_path / name.replace(".py", ".png")
    draws = picture.name in (ROOT / "examples" / name).read_text()
    assert list(tmp_path.iterdir()) == ([picture] if draws else [])


def readme_code():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_readme_code_runs_and_has_fifteen_lines(tmp_path):
    code = readme_code()[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    process = run_python(["-c", code], tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == "test: build/readme/1"
    assert (tmp_path / "build/readme/1/saved_model.pb").is_file()


# What the README's search is given by its reader.
READER = """
import keras, numpy as np, kerasreg

def build(hp):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=["accuracy"])
    return model

x, y = np.random.default_rng(0).normal(size=(64, 3)), np.arange(64) % 2
validation = (x, y)
"""


def test_readme_search_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(f"{READER}\n{readme_code()[1]}", found)
    assert "trials 128/128" in capsys.readouterr().out
    assert found["model"].predict(found["x"], verbose=0).shape == (64, 2)


@pytest.mark.long
def test_readme_ensemble_runs(tmp_path):
    code = f"{READER}\n{readme_code()[2]}\nprint(model.predict(x, verbose=0).shape)"
    process = run_python(["-c", code], tmp_path)
    assert process.returncode == 0, process.stderr
    assert "the best trial alone" in process.stdout
    assert process.stdout.splitlines()[-1] == "(64, 2)"


@pytest.mark.long
def test_readme_pruning_runs(tmp_path):
    reader = """
import keras, kerasreg
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x = x / 16
"""
    code = readme_code()[3]
    process = run_python(["-c", f"{reader}\n{code}\nprint(small.predict(x).shape)"], tmp_path)
    assert process.returncode == 0, process.stderr
    before, after = re.search(r"dense +(\d+) +(\d+)", process.stdout).groups()
    assert int(after) < int(before) == 256
    assert process.stdout.splitlines()[-1] == "(1797, 10)"


def test_readme_serving_runs(tmp_path, monkeypatch):
    reader = """
import keras, kerasreg
from sklearn.datasets import load_digits
x = (load_digits().data / 16).astype("float32")
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, "softmax")])
"""
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(f"{reader}\n{readme_code()[4]}", found)
    assert str(found["path"]) == "models/digits/1"
    assert (tmp_path / "models/digits/1/assets.extra/model_card.md").is_file()
