"""Scripts in examples/ and the code of the README and of docs/ run, and say what they should."""

import os
import pathlib
import re
import subprocess
import sys

import keras
import pytest
from helpers import pages

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


# Pages whose code takes up to two seconds in all; the code of others is run by `make test-long`.
QUICK = [
    "docs/explanations/lanes.md",
    "docs/explanations/proximal.md",
    "docs/explanations/resume.md",
    "docs/explanations/tables.md",
    "docs/guides/distribution.md",
    "docs/guides/initializers.md",
    "docs/guides/own_components.md",
    "docs/guides/schedules.md",
]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=() if page in QUICK else pytest.mark.long)
        for page, text in pages.pages().items()
        if pages.blocks(text, "python")
    ],
)
def test_code_of_page_runs(page, tmp_path, monkeypatch):
    """All of it in one namespace, in the order of the page; see `helpers.pages.run`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    keras.utils.set_random_seed(0)
    pages.run(page, pages.pages()[page])


def test_what_a_page_prints_is_compared_and_errors_have_its_lines():
    page = "```python\nprint(1 + 1)\n```\n\n```text\n{}\n```\n"
    pages.run("a.md", page.format(2))
    with pytest.raises(AssertionError, match=r"a\.md:1 says\n3\n\nbut the code prints\n2\n"):
        pages.run("a.md", page.format(3))
    with pytest.raises(ZeroDivisionError) as error:
        pages.run("a.md", "One\n\n```python\n1 / 0\n```\n")
    assert str(error.traceback[-1].path).endswith("a.md")
    assert error.traceback[-1].lineno + 1 == 4
