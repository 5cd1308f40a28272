"""The report of trials: its values, its page and its Markdown."""

import json
import math
import pathlib
import re
import statistics

import numpy as np
import pytest
from helpers.search_states import HOSTILE, entry, parts, state, states

from kerasreg import reports
from kerasreg.reports import SearchReport, search_report
from kerasreg.reports._words import share, size

SECTIONS = [
    "Verdict",
    "How far the scores can be trusted",
    "Learning curves",
    "Effect of each hyperparameter",
    "Trials over their hyperparameters",
    "Importance of hyperparameters",
    "Leaderboard",
    "Members of the ensemble",
    "Predictions of the ensemble",
    "Columns as they were read",
    "Time",
    "Trials without a result",
    "Where it comes from, and how to do it again",
]


def hostile(count=40):
    """A report in which all that comes from elsewhere wants to be code."""
    found = states(count, names=HOSTILE, choices=HOSTILE[:3], failed=5)
    given = parts(found)
    generator = np.random.default_rng(0)
    given["checks"] = reports.checks(
        generator.dirichlet([1, 1, 1], 60), generator.integers(0, 3, 60), HOSTILE[:3]
    )
    given["columns"] = [{"name": one, "kind": one, "reason": one} for one in HOSTILE]
    given["ensemble"]["metric"] = given["honesty"][0]["note"] = HOSTILE[0]
    given["provenance"] = {
        "versions": dict.fromkeys(HOSTILE, HOSTILE[0]),
        "fingerprint": HOSTILE[0],
        "command": HOSTILE[0],
        "code": f"'''{HOSTILE[0]}```'''",
    }
    given["test"] = {
        "rows": 36,
        "metric": HOSTILE[1],
        "reference": HOSTILE[0],
        "models": [
            {
                "name": one,
                "scores": {HOSTILE[1]: 0.5},
                "difference": 0.1,
                "standard_error": 0.01,
                "zeros": 0.25,
                "bytes": 1234,
                "milliseconds": 1.5,
            }
            for one in HOSTILE
        ],
    }
    return search_report(
        found,
        objective="val_loss",
        direction="min",
        title=HOSTILE[0],
        notes=[HOSTILE[0]],
        **given,
    )


@pytest.fixture(scope="module")
def report():
    return hostile()


@pytest.fixture(scope="module")
def page(report):
    return report.html()


@pytest.fixture(scope="module")
def large():
    found = states(10_000, failed=100)
    return search_report(found, objective="val_loss", direction="min", **parts(found))


# --- The values ------------------------------------------------------------------------


def test_trials_have_their_scores_their_errors_and_the_values_that_hold():
    rows = search_report(states(30), objective="val_loss", direction="min").trials
    for row, one in zip(rows, states(30), strict=True):
        scores = one["metrics"]["metrics"]["val_loss"]["observations"][0]["value"]
        values = one["hyperparameters"]["values"]
        assert row["score"] == one["score"]
        assert row["scores"] == scores
        error = statistics.stdev(scores) / math.sqrt(len(scores))
        assert row["standard_error"] == pytest.approx(error)
        if values["activation"] != "relu":  # On which the last one depends.
            values = {name: value for name, value in values.items() if name != "heads"}
        assert row["values"] == values
    assert any("heads" in row["values"] for row in rows)


def test_scores_of_folds_are_means_over_executions():
    one = state("0", {}, [1.0, 2.0, 3.0, 4.0], [])
    assert reports.trial_scores(one, "val_loss", executions=2) == [2.0, 3.0]
    assert reports.trial_scores(one, "val_loss") == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("direction", "first"), [("min", "1"), ("max", "0")])
def test_the_ranking_follows_the_direction(direction, first):
    found = [state("0", {}, [3.0], []), state("1", {}, [1.0], []), state("2", {}, [], [])]
    report = search_report(found, objective="val_loss", direction=direction)
    assert report.ranking[0] == first
    assert len(report.ranking) == 2
    assert report.failures == [
        {"status": "FAILED", "message": "", "count": 1, "trials": ["2"]},
    ]


def test_the_ranking_is_that_of_shrunken_scores():
    found = [state("0", {}, [3.0], []), state("1", {}, [1.0], [])]
    shrunken = {"0": (2.0, 0.1), "1": (2.5, 0.1)}
    report = search_report(found, objective="val_loss", direction="min", shrunken=shrunken)
    assert report.ranking == ["0", "1"]


def test_bins_of_a_hyperparameter_are_the_means_of_its_trials():
    found = states(200)
    report = search_report(found, objective="val_loss", direction="min")
    near = [row for row in report.trials if row["score"] <= report.effects["limit"]]
    assert report.effects["left_out"] == 200 - len(near) == 4
    by_name = {one["hyperparameter"]: one["bins"] for one in report.effects["rows"]}
    assert set(by_name) == {"rate", "units", "dropout", "activation", "heads"}
    for each in by_name["rate"]:
        inside = [
            row["score"] for row in near if each["low"] <= row["values"]["rate"] <= each["high"]
        ]
        assert each["count"] == len(inside)
        assert each["mean"] == pytest.approx(statistics.fmean(inside))
        error = statistics.stdev(inside) / math.sqrt(len(inside))
        assert each["standard_error"] == pytest.approx(error)
    assert sum(each["count"] for each in by_name["activation"]) == len(near)


def test_scales_are_those_by_which_values_were_drawn():
    report = search_report(states(20), objective="val_loss", direction="min")
    scales = {one["name"]: (one["kind"], one["scale"]) for one in report.hyperparameters}
    assert scales == {
        "rate": ("number", "log"),
        "units": ("number", "linear"),
        "dropout": ("number", "linear"),
        "activation": ("category", None),
        "heads": ("category", None),
    }


def test_what_hyperband_adds_is_no_hyperparameter():
    found = [state(str(k), {"rate": k, "tuner/epochs": 2 * k}, [k], []) for k in range(3)]
    report = search_report(found, objective="val_loss", direction="min")
    assert [one["name"] for one in report.hyperparameters] == ["rate"]
    assert report.trials[2]["values"] == {"rate": 2, "tuner/epochs": 4}


def test_numbers_to_choose_from_are_steps_in_their_order():
    space = [entry("Choice", "l2", values=[1e-3, 0.0, 1e-5], ordered=True)]
    found = [state(str(k), {"l2": v}, [v], space) for k, v in enumerate([1e-3, 0.0, 1e-5, 0.0])]
    report = search_report(found, objective="val_loss", direction="min")
    assert report.hyperparameters[0]["categories"] == ["0.0", "1e-05", "0.001"]
    bins = report.effects["rows"][0]["bins"]
    assert [(one["category"], one["count"], one["mean"]) for one in bins] == [
        ("0.0", 2, 0.0),
        ("1e-05", 1, 1e-5),
        ("0.001", 1, 1e-3),
    ]


@pytest.mark.parametrize("is_there", [True, False])
def test_importance_finds_what_scores_depend_on(monkeypatch, is_there):
    if not is_there:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = states(300)
    for one in found:  # A monotone effect, which a correlation sees too.
        one["score"] = math.log(one["hyperparameters"]["values"]["rate"])
    importance = search_report(found, objective="val_loss", direction="min").importance
    assert ("random forest" in importance["method"]) == is_there
    first, *others = importance["rows"]
    assert first["hyperparameter"] == "rate"
    assert first["importance"] > 0.9
    assert all(one["importance"] < 0.1 for one in others)


def test_of_few_trials_nothing_is_important():
    assert search_report(states(19), objective="val_loss", direction="min").importance is None
    of = {"objective": "val_loss", "direction": "min"}
    assert search_report(states(20), **of).importance is not None
    assert search_report(states(20), **of, weigh=False).importance is None


def test_checks_of_classes_count_what_is_right():
    probabilities = [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.3, 0.7]]
    found = reports.checks(np.array(probabilities), np.array([0, 1, 1, 1]), ["a", "b"])
    assert found["accuracy"] == 0.75
    assert found["confusion"] == [[1, 0], [1, 2]]
    assert [one["count"] for one in found["calibration"]] == [1, 1, 1, 1]
    gaps = [0.2, 0.6, 0.1, 0.3]
    assert found["calibration_error"] == pytest.approx(sum(gaps) / 4)


def test_checks_take_logits_one_hot_targets_and_one_output():
    logits, classes = np.array([[5.0, -5.0], [-5.0, 5.0], [5.0, -5.0]]), np.array([0, 1, 1])
    found = reports.checks(logits, classes)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert reports.checks(logits, np.eye(2)[classes]) == found
    assert reports.checks(logits, classes[:, None]) == found
    one = reports.checks(np.array([[-5.0], [5.0], [-5.0]]), classes)
    assert one["confusion"] == found["confusion"] == [[1, 0], [1, 1]]


def test_checks_of_numbers_are_residuals():
    found = reports.checks(np.array([[1.0], [2.0]]), np.array([2.0, 5.0]))
    assert (found["kind"], found["bias"]) == ("regression", 2.0)
    assert found["rmse"] == pytest.approx(5**0.5)
    assert found["points"] == [[1.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (np.zeros((3, 4, 4)), np.zeros((3, 4, 4))),
        (np.zeros((3, 2)), np.array([0.5, 0.1, 0.2])),
        (np.zeros((3, 2)), np.array([0, 1, 2])),
        (np.array([[np.nan], [1.0]]), np.array([0.0, 1.0])),
        (np.zeros((2, 2)), np.array(["a", "b"])),
        (np.zeros((0, 1)), np.zeros(0)),
    ],
)
def test_there_are_no_checks_of_other_outputs(outputs, targets):
    assert reports.checks(outputs, targets) is None


# --- The verdict -----------------------------------------------------------------------


def test_the_verdict_tells_clear_differences_from_noise():
    models = [
        {"name": name, "scores": {"log_loss": 0.5}, "difference": difference, "standard_error": s}
        for name, difference, s in [
            ("ensemble", None, None),
            ("winner", 0.1, 0.09),
            ("baseline", 0.2, 0.05),
            ("linear", -0.2, 0.05),
            ("other", 0.1, None),
            ("same", 0.0, 0.0),
        ]
    ]
    test = {"rows": 40, "metric": "log_loss", "reference": "ensemble", "models": models}
    report = search_report(states(3), objective="val_loss", direction="min", test=test)
    told = "\n".join(report.verdict)
    assert "On the test part of 40 rows" in told
    assert re.search(r"The best setting alone .*: no clear difference\.", told)
    assert re.search(r"without regularization .*: the ensemble is better\.", told)
    assert re.search(r"A linear model .*: the ensemble is worse\.", told)
    assert re.search(r"Other has .*: the noise of the difference is not known\.", told)
    assert re.search(r"Same has .*: no difference\.", told)


@pytest.mark.parametrize("unit", [None, 1.0, 66.0])
def test_the_verdict_is_in_the_units_of_the_test_part(unit):
    models = [{"name": "all", "scores": {"loss": 0.5}, "difference": None, "standard_error": None}]
    test = {"rows": 40, "metric": "loss", "reference": "all", "models": models}
    test |= {} if unit is None else {"unit": unit}
    found = states(3)
    given = parts(found) | {"test": test, "shrunken": {"00000": (0.5, 0.25)}}
    report = search_report(found, objective="val_loss", direction="min", **given)
    told, scale = "\n".join(report.verdict), unit or 1.0
    expected, best = (report.ensemble[name] for name in ("expected_score", "best_score"))
    assert f" of {scale * expected:.4g} ± " in told
    assert f"has {scale * best:.4g} where it was found to be the best" in told
    assert ("1 there is 66 here" in told) == (unit == 66.0)
    named = "loss" if unit == 66.0 else "val_loss"
    score = next(row["score"] for row in report.trials if row["trial"] == report.ranking[0])
    assert f"its {named} is {scale * score:.4g} in the search" in told


def test_a_trial_that_was_cut_off_has_a_reason():
    found = [*states(3), state("last", {}, [], [], status="RUNNING")]
    report = search_report(found, objective="val_loss", direction="min")
    (left,) = report.failures
    assert (left["trials"], "was not at its end" in left["message"]) == (["last"], True)


def test_the_verdict_counts_trials_by_what_became_of_them():
    found = states(4, failed=2)
    found.append(state("last", {}, [], [], status="RUNNING"))
    report = search_report(found, objective="val_loss", direction="min")
    assert report.verdict[-1] == (
        "4 trials completed, 2 failed, 1 without a score or not at an end."
    )


def test_the_verdict_of_nothing_says_so():
    failed = [state("0", {}, [], [])]
    for found in ([], failed):
        report = search_report(found, objective="val_loss", direction="min")
        assert report.verdict == ["No trial has completed."]


# --- JSON ------------------------------------------------------------------------------


def check(value, schema, at="report"):
    """Holds a value against a schema, as far as that of reports goes."""
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    if "const" in schema:
        assert value == schema["const"], at
    if "enum" in schema:
        assert value in schema["enum"], at
    if "type" in schema:
        named = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        assert any(isinstance(value, kinds[one]) for one in named), (at, value)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), at
        for name, part in value.items():
            known = schema.get("properties", {}).get(name)
            check(part, known or schema.get("additionalProperties", {}), f"{at}.{name}")
    if isinstance(value, list) and "items" in schema:
        for part in value:
            check(part, schema["items"], f"{at}[]")


def schema():
    path = pathlib.Path(reports.__file__).parent / "search_report.schema.json"
    return json.loads(path.read_text())


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_schema_holds(count):
    found = states(count, failed=2) if count else []
    given = parts(found) if count > 2 else {}
    values = search_report(found, objective="val_loss", direction="min", **given).to_dict()
    check(json.loads(json.dumps(values, allow_nan=False)), schema())
    assert set(values) == set(schema()["required"]) == set(schema()["properties"])


def test_the_schema_is_no_sieve():
    values = search_report(states(5), objective="val_loss", direction="min").to_dict()
    del values["trials"][0]["score"]
    with pytest.raises(AssertionError):
        check(values, schema())


def test_json_brings_the_report_back(report):
    again = SearchReport.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again == report
    assert again.html() == report.html()
    assert again.markdown() == report.markdown()


@pytest.mark.parametrize("values", [{}, [], {"schema": "kerasreg-search-report-0"}])
def test_other_values_bring_none_back(values):
    with pytest.raises(ValueError, match="must be what `to_dict` of a report returned"):
        SearchReport.from_dict(values)
    with pytest.raises(ValueError, match=r"Missing: \['checks'"):
        SearchReport.from_dict({"schema": "kerasreg-search-report-1"})


def test_numbers_that_are_not_finite_are_null():
    found = [state("0", {"rate": float("inf")}, [float("nan")], []), state("1", {}, [1.0], [])]
    report = search_report(
        found, objective="val_loss", direction="min", shrunken={"0": (math.nan, math.nan)}
    )
    assert report.trials[0]["score"] is None
    assert report.ranking == ["1"]
    json.dumps(report.to_dict(), allow_nan=False)
    assert "nan" not in report.html().lower().replace("isnan", "")


# --- The page --------------------------------------------------------------------------


def test_the_page_has_its_sections_in_order(page, read):
    assert read(page).titles == SECTIONS


def test_a_part_that_is_not_known_is_not_shown(read):
    found = search_report(states(3), objective="val_loss", direction="min")
    titles = read(found.html()).titles
    assert titles == [SECTIONS[k] for k in (0, 3, 4, 6)]
    nothing = search_report([], objective="val_loss", direction="min")
    assert read(nothing.html()).titles == ["Verdict"]
    assert re.findall("^## (.*)$", nothing.markdown(), re.MULTILINE) == ["Verdict"]
    assert nothing.markdown().count("No trial has completed.") == 1


def test_every_element_is_closed_and_every_name_is_one(page, read):
    seen = read(page)
    assert seen.faults == []
    names = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in seen.elements:
        for one in attributes.get("aria-labelledby", "").split():
            assert one in names
    links = [one["href"] for one in seen.named("a")]
    assert len(links) == len(SECTIONS)
    assert {one.removeprefix("#") for one in links} <= set(names)


def test_names_are_text_and_never_code(page, read):
    seen = read(page)
    assert len(seen.scripts) == len(seen.named("script")) == 2
    assert not any("alert" in one for one in seen.scripts if not one.startswith("{"))
    assert not seen.named("b")
    for one in HOSTILE:
        assert " ".join(one.split()) in " ".join(seen.shown.split())
    assert [axis["name"] for axis in seen.data["axes"]][-1] == "val_loss"
    assert set(HOSTILE) == {axis["name"] for axis in seen.data["axes"][:-1]}
    (data,) = [one for one in seen.scripts if one.startswith("{")]
    assert not re.search("[<>&]", data)


def test_no_request_leaves_the_page(page, read):
    seen = read(page)
    for tag, attributes in seen.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?://", page)
    (policy,) = [one for one in seen.named("meta") if "http-equiv" in one]
    assert policy["content"].startswith("default-src 'none'")


def test_charts_say_what_they_show_and_have_marks(page, read):
    seen = read(page)
    charts = [one for one in seen.named("svg") if "aria-hidden" not in one]
    assert len(charts) == len(seen.named("desc")) == 10
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in charts)
    for svg in re.findall(r"<svg viewBox.*?</svg>", page):
        if "aria-hidden" not in svg:
            assert re.search(r'<path class="(curve|validation|dot|trial|mean)', svg)
    assert "nan" not in page.replace("isNaN", "")


def test_tables_have_titles_of_columns_and_rows(page, read):
    seen = read(page)
    scopes = [one.get("scope") for one in seen.named("th")]
    assert set(scopes) == {"col", "row"}
    assert len(seen.named("caption")) == len(seen.named("table"))
    assert all(one.get("tabindex") == "0" for one in seen.named("div") if "role" in one)


def test_trials_of_the_leaderboard_are_those_of_the_lines(report, page, read):
    seen = read(page)
    listed = [one["data-t"] for one in seen.named("tr") if "data-t" in one]
    assert listed == report.ranking
    assert set(seen.data["trials"]) == set(listed)
    lines = [one["data-t"] for one in seen.named("path") if one.get("class", "")[:5] == "trial"]
    assert sorted(lines) == sorted(listed)
    for places in seen.data["trials"].values():
        assert len(places) == len(seen.data["axes"])
        assert all(-1 <= place <= 1000 for place in places)


def test_a_page_of_many_trials_is_small(large, read):
    page = large.html()
    assert len(page.encode()) < 1_000_000
    seen = read(page)
    listed = [one["data-t"] for one in seen.named("tr") if "data-t" in one]
    assert listed[:133] == large.ranking[:133]  # As many as there is room for.
    assert 133 < len(listed) <= 200
    assert f"{len(large.ranking):,}".replace(",", "\u202f") in seen.shown
    assert len(large.markdown()) < 100_000
    assert len(large.to_dict()["trials"]) == 10_100


def test_many_columns_of_long_texts_do_not_make_it_large(read):
    generator = np.random.default_rng(0)
    values = [str(number) + '"&' * 100 for number in range(40)]
    found = [
        state(
            str(k),
            {f"{number}{'<' * 100}": values[generator.integers(40)] for number in range(40)},
            [generator.random()],
            [],
        )
        for k in range(300)
    ]
    page = search_report(found, objective="val_loss", direction="min").html()
    assert len(page.encode()) < 1_000_000
    assert read(page).faults == []


def test_long_names_and_many_hyperparameters_do_not_make_it_large(read):
    generator = np.random.default_rng(0)
    names = [f"{number}{'long' * 10_000}" for number in range(100)]
    found = [
        state(str(k), {name: generator.random() for name in names}, [generator.random()], [])
        for k in range(30)
    ]
    found += [state("x", {}, [], [], message="m" * 1_000_000)]
    report = search_report(found, objective="val_loss", direction="min")
    page = report.html()
    assert len(page.encode()) < 1_000_000
    assert read(page).faults == []


def test_equal_trials_have_equal_pages(report, page):
    again = hostile()
    assert again.html() == page
    assert again.to_dict() == report.to_dict()
    assert again.markdown() == report.markdown()


@pytest.mark.parametrize("scores", [[1e300, -1e300], [0.0, 0.0], [5e-324, 1e-320], [1.0]])
def test_extreme_scores_and_values_are_drawn(scores, read):
    found = [
        state(str(k), {"rate": score, "same": True}, [score], []) for k, score in enumerate(scores)
    ]
    page = search_report(found, objective="val_loss", direction="max").html()
    assert read(page).faults == []
    assert not re.search(r'd="[^"]*(nan|inf|e[+-])', page)


def test_trials_that_were_stopped_are_marked_everywhere(report, page, read):
    stopped = {row["trial"] for row in report.trials if row["stopped"]}
    assert len(stopped) == 8
    seen = read(page)
    for tag, first in (("tr", None), ("path", "trial"), ("path", "curve")):
        marked = {
            one["data-t"]
            for one in seen.named(tag)
            if "data-t" in one
            and "stopped" in one.get("class", "").split()
            and first in (None, one["class"].split()[0])
        }
        assert marked == stopped, (tag, first)
        # They are grey, however good they are.
        assert not any(
            "good" in one.get("class", "")
            for one in seen.named(tag)
            if one.get("data-t") in stopped
        )
    assert "stopped by" in seen.shown
    assert seen.shown.count("stopped early") == 2  # The keys of the two charts.
    none = search_report(states(9), objective="val_loss", direction="min")
    assert "stopped" not in read(none.html()).shown


def test_zeros_bytes_and_latency_are_shown(report, page, read):
    shown = read(page).shown
    for text in ("25.0%", "1.23 kB", "1.5 ms", "4.01 kB", "10.0%", "100%"):
        assert text in shown, text
    assert "1.5 ms" in report.markdown()


def test_what_is_not_all_or_nothing_does_not_look_like_it():
    assert [share(part) for part in (0, 1e-6, 0.5, 1 - 1e-6, 1, None)] == [
        "0%", "<0.1%", "50.0%", ">99.9%", "100%", "\u2013",
    ]  # fmt: skip
    assert [size(count) for count in (0, 999, 1000, 123_456, 5e6, 7.25e9)] == [
        "0 B", "999 B", "1 kB", "123 kB", "5 MB", "7.25 GB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        ("running", 48, "still running when this was written at 2026-01-02 03:04:05 UTC: "
                        "40 of 48 trials have ended, 8 trials in training."),
        ("running", None, "UTC: 40 trials have ended, 8"),
        ("stopped", 48, "was interrupted, or stopped by an error at 2026"),
        ("unfinished", 48, "has not finished: 40 of 48 trials have ended. It runs, or was cut"),
        ("finished", None, "has finished at 2026-01-02 03:04:05 UTC: 40 trials have ended."),
    ],
)  # fmt: skip
def test_it_says_whether_the_search_runs(state, expected, words, read):
    progress = {"state": state, "ended": 40, "expected": expected, "running": 8,
                "written": "2026-01-02T03:04:05+00:00"}  # fmt: skip
    report = search_report(states(3), objective="val_loss", direction="min", progress=progress)
    seen = read(report.html())
    assert words in seen.shown
    assert words.replace(".", "") in report.markdown().replace("\\", "").replace(".", "")
    (line,) = [one for one in seen.named("p") if one.get("id") == "state"]
    # The script says of a search that runs, and of no other one, that this was long ago.
    assert ("data-written" in line) == (state == "running")
    check(report.to_dict(), schema())


def test_nothing_is_said_of_the_state_where_it_is_not_known(read):
    seen = read(search_report(states(3), objective="val_loss", direction="min").html())
    assert not any(one.get("id") == "state" for one in seen.named("p"))


def test_trials_in_training_are_no_failures():
    found = [*states(2), state("r", {}, [], [], status="RUNNING")]
    runs = {"state": "running", "ended": 2, "expected": 3, "running": 1, "written": None}
    of = dict(objective="val_loss", direction="min")
    assert search_report(found, **of, progress=runs).failures == []
    ended = search_report(found, **of, progress={**runs, "state": "stopped"})
    assert [one["status"] for one in ended.failures] == ["RUNNING"]


def test_a_report_of_an_earlier_version_is_read(report):
    values = report.to_dict()
    del values["progress"], values["lanes"]
    for row in values["trials"]:
        for name in ("stopped", "zeros", "bytes", "began", "ended"):
            del row[name]
    for one in values["hyperparameters"]:
        del one["space"]
    again = SearchReport.from_dict(values)
    assert again.progress is None
    assert again.html().startswith("<!DOCTYPE html>")
    assert len(again.to_study().trials) == len(report.to_study().trials)


# --- Markdown --------------------------------------------------------------------------


def test_markdown_has_the_same_sections_but_the_lines(report):
    titles = re.findall("^## (.*)$", report.markdown(), re.MULTILINE)
    assert titles == [one for one in SECTIONS if one != "Trials over their hyperparameters"]


def test_markdown_escapes_what_has_a_meaning(report):
    text = report.markdown()
    fenced = re.sub(r"(`{3,})\w*\n.*?\n\1", "", text, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<", fenced)
    tables = [line for line in fenced.splitlines() if line.startswith("|")]
    for line in tables:
        assert line.endswith(" |")
    code = report.provenance["code"]
    assert f"````python\n{code}\n````" in text  # The code has a fence of three.


def test_rows_of_a_markdown_table_have_as_many_cells_as_its_title(report):
    block = []
    for line in [*report.markdown().splitlines(), ""]:
        if line.startswith("|"):
            block.append(len(re.findall(r"(?<!\\)\|", line)))
        elif block:
            assert len(set(block)) == 1
            block = []


# --- Files and arguments ---------------------------------------------------------------


def test_files_are_written_as_their_ending_says(report, page, tmp_path):
    for name in ("a.html", "below/b.json", "c.MD"):
        report.write(tmp_path / name)
    assert (tmp_path / "a.html").read_text() == page
    assert json.loads((tmp_path / "below" / "b.json").read_text()) == report.to_dict()
    assert (tmp_path / "c.MD").read_text() == report.markdown()


def test_another_ending_is_refused(report, tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end with .*\.md\. Received: path='.*a\.pdf"):
        report.write(tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_another_direction_is_refused():
    with pytest.raises(ValueError, match=r"`direction` must be .* Received: direction='up'"):
        search_report([], objective="val_loss", direction="up")
