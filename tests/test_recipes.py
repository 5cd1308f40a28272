"""Recipes and notebooks: each page is of a script that runs, and says what the script prints."""

import ast
import contextlib
import functools
import importlib.util
import io
import json
import os
import pathlib
import re

import numpy as np
import pytest
from helpers.processes import needs_fork

ROOT = pathlib.Path(__file__).parent.parent
PAGES = ROOT / "docs" / "recipes"
RECIPES = sorted(page.stem for page in PAGES.glob("*.md") if page.stem != "index")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
INCLUDE = re.compile(r"```\{literalinclude\} (\S+)\n(.*?)```", re.DOTALL)


def script_of(recipe):
    return ROOT / "examples" / f"{recipe.replace('-', '_')}.py"


def page_of(recipe):
    return (PAGES / f"{recipe}.md").read_text()


def plain(line):
    """A line without what varies: numbers, and how wide columns are."""
    without = re.sub(r"[-+]?\d[\d.,]*(e[-+]?\d+)?", "#", line)
    return re.sub(r"[\s-]*(#|nan)[\s%]*", " # ", re.sub(r"\s+", " ", without)).strip()


# The pages.


def test_there_are_fifteen_recipes_or_more():
    assert len(RECIPES) >= 15


def test_the_index_has_each_recipe_once():
    index = (PAGES / "index.md").read_text()
    (tree,) = re.findall(r"```\{toctree\}\n:maxdepth: 1\n(.*?)```", index, re.DOTALL)
    assert sorted(tree.split()) == RECIPES
    assert sorted(re.findall(r"^- \[.*\]\((.*)\.md\)", index, re.MULTILINE)) == RECIPES


@pytest.mark.parametrize("recipe", RECIPES)
def test_page_shows_what_is_in_its_script(recipe):
    included = INCLUDE.findall(page_of(recipe))
    assert included
    for path, options in included:
        assert (PAGES / path).resolve() == script_of(recipe)
        source = script_of(recipe).read_text()
        found = dict(re.findall(r'^:([a-z-]+): "?(.*?)"?$', options, re.MULTILINE))
        if "pyobject" in found:
            assert f"def {found['pyobject']}(" in source
            continue
        start, end = found["start-after"], found["end-before"]
        assert source.count(f"{start}\n") == 1
        shown = source.partition(start)[2].partition(end)
        assert shown[1] == end
        assert "# [" not in shown[0]
        assert shown[0].strip()


@pytest.mark.parametrize("page", [*RECIPES, "index"])
def test_links_of_page_lead_somewhere(page):
    text = page_of(page)
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (PAGES / link).is_file(), link
    named = re.findall(r"`((?:examples|benchmarks)/\S+?)`", text)
    named += re.findall(r"`python ((?:examples|benchmarks)/\S+?\.py)", text)
    for path in named:
        assert (ROOT / path).exists(), path


# The scripts.


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """Runs the script of a recipe as its page says, and compares the page with what it prints."""

    def run(recipe, *arguments):
        monkeypatch.chdir(tmp_path)
        path = script_of(recipe)
        spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            found = module.main(list(arguments))
        lines = {plain(line) for line in printed.getvalue().splitlines()}
        shown = re.findall(r"```text\n(.*?)```", page_of(recipe), re.DOTALL)
        assert shown, "the page shows nothing that the script printed"
        for line in "".join(shown).splitlines():
            assert plain(line) in lines or line == "...", (line, printed.getvalue())
        return found

    # What processes of the script's own import.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return run


@functools.cache
def reference(name):
    """What another library computed; `tests/references` has the program that asked it."""
    with np.load(ROOT / "tests" / "references" / f"{name}.npz") as stored:
        found = {key: stored[key] for key in stored.files}
    return found, json.loads(str(found.pop("arguments")))


@pytest.mark.long
def test_penalty_and_dropout_make_the_gap_smaller(ran):
    found = ran("my-model-overfits")
    gaps = {name: validation - training for name, (training, validation) in found.items()}
    assert gaps["regularized"] < 0.9 * gaps["as it is"]
    assert found["regularized"][1] < found["as it is"][1]


@pytest.mark.long
def test_two_hundred_settings_share_a_program(ran):
    found = ran("many-settings-on-a-laptop")
    assert (found["trials"], found["share"]) == (200, 1.0)
    assert found["best"] > 0.97


@pytest.mark.long
def test_own_model_is_the_same_until_it_is_trained(ran):
    found = ran("my-own-keras-model")
    assert found["difference"] == 0
    # That of the last epoch, in the file.
    assert found["strength"] == pytest.approx(1e-3 * 29 / 30)
    assert found["accuracy"] > 0.5


@pytest.mark.long
def test_one_standard_error_is_stronger_and_uses_less_noise(ran):
    found = ran("choose-the-strength")
    assert found["one standard error strength"] > found["best strength"]
    assert found["one standard error noise"] < found["best noise"]


@pytest.mark.long
def test_all_trials_are_not_worse_than_the_best(ran):
    found = ran("all-trials-together")
    # Less than one of the 450 test samples.
    assert found["ensemble"] >= found["best model"] - 0.002
    assert found["ensemble"] > 0.95


@pytest.mark.long
def test_server_names_the_penguin(ran):
    found = ran("table-to-a-served-answer")
    assert found["accuracy"] > 0.95
    assert found["answer"] == found["truth"]


@pytest.mark.long
def test_what_is_smaller_is_as_good(ran):
    found = ran("smaller-and-served")
    whole, small, tiny = found.values()
    assert small["weights"] < 0.5 * whole["weights"]
    assert tiny["weights"] < 0.5 * small["weights"]
    assert min(small["accuracy"], tiny["accuracy"]) > whole["accuracy"] - 0.02


@pytest.mark.long
def test_the_rate_that_was_found_is_better_than_the_default(ran):
    found = ran("which-learning-rate", "rates.png")
    assert found["one cycle"] > found["the default"]
    assert pathlib.Path("rates.png").is_file()


@pytest.mark.long
def test_what_was_killed_ends_as_if_it_had_not_been(ran):
    found = ran("resume-after-a-kill")
    assert found["ended"] == ["SIGKILL", "SIGKILL"]
    assert found["different"] == 0
    assert found["same"] == found["trials"] == 24
    assert found["largest"] < 1e-6


@pytest.mark.long
def test_schedules_are_those_of_tensorflow_addons(ran):
    found = ran("from-tensorflow-addons")
    assert found["accuracy"] > 0.9
    expected, arguments = reference("tensorflow_addons")
    schedules = found["learning_rates"](arguments["cyclical_triangular"]["step_size"])
    for name, schedule in schedules.items():
        theirs = expected[f"cyclical_{name}"]
        ours = np.array(schedule(np.arange(len(theirs))))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-8)


@pytest.mark.long
def test_hypermodel_of_the_guide_is_searched_as_it_is(ran):
    found = ran("from-keras-tuner")
    assert found["known"] == 24
    assert found["shared"] > 12
    assert found["accuracy"] == pytest.approx(found["score"], abs=1e-6)


@pytest.mark.long
def test_one_cycle_is_that_of_pytorch_and_norms_do_not_decay(ran):
    found = ran("from-pytorch")
    assert found["accuracy"] > 0.95
    expected, arguments = reference("torch_timm")
    given = arguments["onecycle_cos"]
    ours = found["one_cycle_of_pytorch"](given["max_lr"], given["total_steps"])
    theirs = expected["onecycle_cos"]
    np.testing.assert_allclose(np.array(ours(np.arange(len(theirs)))), theirs, rtol=1e-4, atol=1e-9)
    assert found["not decayed"] == {"bias", "gamma", "beta"}


@pytest.mark.long
def test_coefficients_are_those_of_scikit_learn(ran):
    found = ran("from-scikit-learn")
    for name in ("lasso", "net", "ridge"):
        ours, theirs = found[name], found[f"{name} of sklearn"]
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
        np.testing.assert_array_equal(ours == 0, theirs == 0)


@pytest.mark.long
def test_honest_scores_are_worse_than_the_best_mean(ran):
    found = ran("few-samples")
    assert found["shrunken"] > found["best"]
    assert found["truth"] > found["best"]
    # In the five folds of the search, and in five others.
    assert found["measured"] == 10
    assert found["ensemble"] < found["truth"] + 0.1


@pytest.mark.long
def test_augmentation_is_searched_in_one_program(ran):
    found = ran("images-in-lanes")
    assert found["share"] == 1.0
    assert found["best"] < found["plain"]
    assert found["accuracy"] > 0.9


@pytest.mark.long
def test_only_folds_of_groups_and_of_time_say_what_is_to_come(ran):
    found = ran("groups-and-time")
    for flattering, honest in (
        ("folds of rows", "folds of patients"),
        ("shuffled days", "days in order"),
    ):
        assert found[flattering][0] - found[flattering][1] > 0.2
        assert abs(found[honest][0] - found[honest][1]) < 0.15


# The notebooks.


def cells_of(notebook):
    return json.loads(notebook.read_text())["cells"]


def code_of(notebook):
    return ["".join(cell["source"]) for cell in cells_of(notebook) if cell["cell_type"] == "code"]


def run_notebook(name, folder):
    """Runs the cells one after the other in one namespace; returns it and what was printed.

    The last expression of a cell is shown as a notebook shows it: as HTML where it has some.
    """
    found, printed = {"__name__": "__main__"}, io.StringIO()
    here = folder / "notebooks"
    here.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    with contextlib.chdir(here), contextlib.redirect_stdout(printed):
        for number, code in enumerate(code_of(ROOT / "notebooks" / name)):
            tree, place = ast.parse(code), f"{name}, cell {number}"
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, place, "exec"), found)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), place, "eval"), found)
                if value is not None:
                    print(getattr(value, "_repr_html_", value.__repr__)())
    assert list(here.iterdir()) == []
    return found, printed.getvalue()


@pytest.mark.long
@needs_fork
def test_a_search_on_a_cluster(ran):
    pytest.importorskip("optuna")
    found = ran("a-search-on-a-cluster")
    assert (found["killed"], found["codes"]) == ("SIGKILL", [0, 0])
    assert (found["completed"], found["trials"]) == (24, 24)
    assert found["statuses"] == {"COMPLETED"}
    assert found["same"]
    assert found["accuracy"] > 0.9


def test_there_are_three_notebooks():
    assert len(NOTEBOOKS) == 3


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(notebook):
    stored = json.loads(notebook.read_text())
    assert (stored["nbformat"], stored["nbformat_minor"]) == (4, 5)
    assert set(stored) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert stored["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in stored["cells"]]
    assert len(set(ids)) == len(ids)
    assert stored["cells"][0]["cell_type"] == "markdown"
    for cell in stored["cells"]:
        assert set(cell) - {"outputs", "execution_count"} == {
            "cell_type",
            "id",
            "metadata",
            "source",
        }
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))
        else:
            assert cell["cell_type"] == "markdown"
            assert "outputs" not in cell


@pytest.mark.long
def test_first_search_finds_an_ensemble(tmp_path):
    found, printed = run_notebook("a_first_search.ipynb", tmp_path)
    assert "24 of 24 trials shared a program with others" in printed
    accuracies = found["accuracies"]
    assert accuracies["the ensemble"] >= accuracies["the best model"] - 0.005
    assert accuracies["the ensemble"] > 0.95


@pytest.mark.long
def test_signal_report_finds_what_is_mended(tmp_path):
    found, _ = run_notebook("a_signal_report_and_schedules.ipynb", tmp_path)
    assert (found["before"].verdict, found["after"].verdict) == ("vanishing", "fine")
    assert found["mended"] > 0.9 > 0.5 > found["not_mended"]
    assert float(found["penalty"].strength) == pytest.approx(1e-4)


@pytest.mark.long
def test_served_ensemble_names_the_penguin(tmp_path):
    found, _ = run_notebook("a_table_to_a_served_ensemble.ipynb", tmp_path)
    compared = found["card"]["verification"]
    assert compared["relative_difference"] <= compared["tolerance"]
    assert found["label"] == found["test_rows"]["species"].iloc[0]
