"""The numbers of benchmarks: as data, as a page, and as what the README and the docs claim."""

import json
import os
import re
import sys

import pytest
from helpers.scripts import ROOT, module_of

RUN = {
    "command": "python benchmarks/search.py --rounds=1",
    "source": "0",
    "date": "2026-11-29",
    "machine": {"system": "Linux x86_64", "cores": 2, "memory": "24 GiB"},
    "versions": {"python": "3.11.7", "kerasreg": "0.1.0"},
    "conditions": {"seconds": 90.0, "load": 1.2, "others": 0.31, "quiet": False},
    "covers": "digits (seeds 1)",
    "results": {
        "mlp.ours": {"value": 63.14, "low": 40.0, "high": 70.0, "spread": "rounds", "what": "a|b"},
        "mlp.theirs": {"value": 1.0, "what": "one", "headline": True},
        "mlp.cost": {"value": 1.124, "what": "cost of a step"},
        "cnn.cost": {"value": 1.31, "what": "cost of another"},
        "wins": {"value": 9.0, "of": 11, "what": "tables"},
    },
}


@pytest.fixture(scope="module")
def claims():
    yield from module_of("benchmarks/claims.py")


@pytest.fixture(scope="module")
def numbers():
    yield from module_of("benchmarks/_results.py")


@pytest.fixture(scope="module")
def everything():
    yield from module_of("benchmarks/all.py")


@pytest.fixture
def results(claims):
    return claims.results_of({"runs": {"search": RUN}})


@pytest.fixture(scope="module")
def of_the_tree():
    return json.loads((ROOT / "RESULTS.json").read_text(encoding="utf-8"))


def test_the_readme_and_the_docs_claim_what_the_results_hold(claims, of_the_tree):
    results = claims.results_of(of_the_tree)
    for path in claims.pages():
        assert not claims.faults_of(path.read_text(encoding="utf-8"), results), path


def test_the_page_of_numbers_is_that_of_the_results(claims, of_the_tree):
    found = claims.numbers().read_text(encoding="utf-8")
    assert found == claims.render(of_the_tree), "renew it: python benchmarks/all.py --render"


def test_results_name_no_path_and_no_host(of_the_tree):
    assert not re.search(r'["= ]/[a-z]', json.dumps(of_the_tree))
    told = {"system", "cores", "processor", "memory", "accelerators"}
    for run in of_the_tree["runs"].values():
        assert set(run["machine"]) <= told


@pytest.mark.parametrize(
    "text",
    [
        "It is 63<!-- bench: search.mlp.ours --> times as fast.",
        "It is 63.1 <!-- bench: search.mlp.ours --> times as fast.",
        "It is 50<!-- bench: search.mlp.ours --> times as fast.",  # Within the spread.
        "| 60<!-- bench: search.mlp.ours --> | 1.12<!-- bench: search.mlp.cost --> |",
        "at least 20<!-- bench: search.mlp.ours >= 20 --> times",
        "many<!--bench: search.mlp.ours>=20--> times",
        "Keras 3.15 costs 12 %<!-- bench: search.mlp.cost - 1 --> more",
        "12.4 percent <!-- bench: search.mlp.cost - 1 --> more",
        "0.89<!-- bench: 1 / search.mlp.cost --> of it",
        "1.1 to 1.3<!-- bench: search.*.cost --> of a step",
        "12 to 31 %<!-- bench: search.*.cost - 1 --> of a step",
        "at most 1.5<!-- bench: search.*.cost <= 1.5 -->",
        "two and 2<!-- bench: none --> are four",
        "it wins on 9<!-- bench: search.wins --> of 11",
    ],
)
def test_true_claims_hold(claims, results, text):
    assert claims.faults_of(text, results) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("80<!-- bench: search.mlp.ours --> times", "80 is shown, and search.mlp.ours is 63.14"),
        ("1.13<!-- bench: search.mlp.cost -->", "1.13 is shown"),
        ("9<!-- bench: search.mlp.ours >= 64 -->", "is 63.14, which is not >= 64"),
        ("99<!-- bench: search.mlp.ours >= 20 -->", "99 is shown"),
        ("40 %<!-- bench: search.mlp.cost - 1 -->", "40 % is shown"),
        ("1.1 to 1.4<!-- bench: search.*.cost -->", "1.4 is shown, and .* end at 1.31"),
        ("1.1<!-- bench: search.*.cost -->", "1.1 is shown, and search.cnn.cost is 1.31"),
        ("1.2<!-- bench: search.*.cost <= 1.2 -->", "search.cnn.cost is 1.31, which is not"),
        ("2<!-- bench: search.gpu.ours -->", "no result has the name search.gpu.ours"),
        ("fast<!-- bench: search.mlp.ours -->", "no number stands before"),
        ("63\nfast<!-- bench: search.mlp.ours -->", "no number stands before"),
        ("63<!-- bench: search.mlp.ours is much -->", "is no claim"),
        ("63<!-- bench: none -->x<!-- bench: search.mlp.ours -->", "no number stands before"),
    ],
)
def test_false_claims_fail(claims, results, text, fault):
    ((line, found),) = claims.faults_of(f"# Title\n\n{text}\n", results)
    assert line == 3 + text.partition("<")[0].count("\n")
    assert re.search(re.escape(fault).replace(r"\.\*", ".*"), found)


def test_the_check_fails_where_a_page_claims_what_is_false(claims, tmp_path, monkeypatch, capsys):
    (tmp_path / "results.json").write_text(json.dumps({"runs": {"search": RUN}}))
    page = tmp_path / "page.md"
    given = ["claims.py", f"--results={tmp_path / 'results.json'}", str(page)]
    page.write_text("63<!-- bench: search.mlp.ours --> times, and 80 times.")
    monkeypatch.setattr(sys, "argv", given)
    claims.main()
    said = capsys.readouterr().out
    assert "1 claims hold" in said
    assert "Not measured on a quiet machine: search." in said
    assert "has changed since: search." in said
    monkeypatch.setattr(sys, "argv", [*given, "--strict"])
    with pytest.raises(SystemExit, match=r"page\.md:1: '80 times' has no"):
        claims.main()
    page.write_text("\n80<!-- bench: search.mlp.ours --> times")
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit, match=r"page\.md:2: 80 is shown"):
        claims.main()


def test_what_looks_like_a_claim_is_found_without_a_mark(claims):
    text = (
        "7<!-- bench: search.mlp.ours --> times; it is 6 times as fast.\n"
        "12 % faster, 3.5 × and `9 times`\n```\n8 times\n```\n5 times <!-- bench: none -->\n"
        "13 trials in 2 minutes"
    )
    assert claims.unmarked(text) == [(1, "6 times"), (2, "12 % faster"), (2, "3.5 ×")]


def test_the_page_tells_numbers_spread_machine_and_what_was_beside(claims):
    page = claims.render({"runs": {"search": RUN}})
    assert "| `search.mlp.ours` | a, b | 63.1 | 40 to 70 (rounds) |" in page
    assert "| `search.wins` | tables | 9 of 11 |  |" in page
    assert "`python benchmarks/search.py --rounds=1` | 2026-11-29 | 1.5 | 1.2 | 31% | no |" in page
    assert "- system Linux x86_64, cores 2, memory 24 GiB" in page
    assert "- python 3.11.7, kerasreg 0.1.0" in page
    assert "Run so far: digits (seeds 1)." in page
    main = page.partition("## What was run")[0]
    assert "search.mlp.theirs" in main
    assert "search.mlp.ours" not in main


def test_runs_with_other_versions_are_told_apart(claims):
    other = RUN | {"versions": {"python": "3.12.1", "kerasreg": "0.1.0"}}
    page = claims.render({"runs": {"search": RUN, "dropout": other}})
    assert "- python 3.11.7, kerasreg 0.1.0 (search)" in page
    assert "- python 3.12.1, kerasreg 0.1.0 (dropout)" in page


def test_a_result_is_the_median_with_its_spread(numbers):
    results = numbers.Results()
    results.of("a.b", [3.0, 1.0, 10.0], "x", headline=True)
    results.of("quartiles", [1.0, 5.0, 3.0, 4.0, 2.0], "x")
    results.add("plain", 123456.789, "x", of=3)
    assert results.results["a.b"] == {
        "value": 3.0,
        "what": "x",
        "low": 1.0,
        "high": 10.0,
        "spread": "smallest and largest of 3",
        "headline": True,
    }
    assert results.results["quartiles"] == {
        "value": 3.0,
        "what": "x",
        "low": 1.5,
        "high": 4.5,
        "spread": "quartiles of 5",
    }
    results.of("one", [4.0], "x")
    assert results.results["one"] == {"value": 4.0, "what": "x (one round)"}
    assert results.results["plain"] == {"value": 123460.0, "what": "x", "of": 3}
    for name in ("A", "a b", "a.b", "a..b", ""):
        with pytest.raises(ValueError, match="`name` must be new"):
            results.add(name, 1.0, "x")


def test_a_machine_is_quiet_if_others_use_a_twentieth_of_it(numbers):
    # Ten seconds of two cores; 9 of them used, 8 by the benchmark.
    quiet = numbers.conditions((0.0, 100.0, 5.0), (10.0, 109.0, 13.0), 0.5, cores=2)
    assert quiet == {"seconds": 10.0, "load": 0.5, "others": 0.05, "quiet": True}
    loud = numbers.conditions((0.0, 100.0, 5.0), (10.0, 109.0, 5.0), 0.5, cores=2)
    assert loud == {"seconds": 10.0, "load": 0.5, "others": 0.45, "quiet": False}
    unknown = numbers.conditions((0.0, None, 5.0), (10.0, None, 5.0), None, cores=2)
    assert unknown == {"seconds": 10.0, "load": None, "others": None, "quiet": None}


def test_the_processors_that_a_process_uses_are_seen(numbers):
    before = numbers.used()
    end = before[0] + 0.2
    while numbers.used()[0] < end:
        sum(range(1000))
    after = numbers.used()
    assert after[0] - before[0] >= 0.2
    assert after[2] > before[2]
    if before[1] is not None:
        assert after[1] > before[1]


def test_a_command_tells_no_path_of_this_machine(numbers):
    shown = numbers.command(
        "/x/y/search.py", ["--done=/a/b/done.json", f"--kserve={ROOT}/.venv/bin/python", "a b"]
    )
    assert shown == ("python benchmarks/search.py --done=done.json --kserve=.venv/bin/python 'a b'")


def test_a_benchmark_writes_what_it_measured_where_it_is_told(numbers, tmp_path, monkeypatch):
    path = tmp_path / "found.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks/search.py", f"--json={path}", "3"])
    with numbers.recording() as results:
        assert sys.argv == ["benchmarks/search.py", "3"]
        results.add("rate", 2.0, "trials a second")
    found = json.loads(path.read_text())
    assert found["results"] == {"rate": {"value": 2.0, "what": "trials a second"}}
    assert found["command"] == "python benchmarks/search.py 3"
    assert found["source"] == numbers.source_of("search")
    assert found["versions"]["kerasreg"] == numbers.versions()["kerasreg"]
    assert found["machine"]["cores"] == os.cpu_count()
    assert set(found["conditions"]) == {"seconds", "load", "others", "quiet"}
    monkeypatch.setattr(sys, "argv", ["benchmarks/search.py"])
    with numbers.recording():
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["found.json"]


def test_every_benchmark_is_run_by_one_program(everything):
    here = ROOT / "benchmarks"
    scripts = {path.stem for path in here.glob("[a-z]*.py")}
    assert scripts - {"all", "claims", "kserve_server"} == {*everything.SHORT, *everything.LONG}
    for name in (*everything.SHORT, *everything.LONG):
        assert "with recording() as " in (here / f"{name}.py").read_text(), name


def test_what_is_there_is_not_run_again_and_what_fails_leaves_the_rest(
    everything, tmp_path, monkeypatch
):
    ran = []

    def run(name, arguments):
        ran.append((name, arguments))
        if name == "dropout":
            return None
        return RUN | {
            "command": everything.command(f"{name}.py", arguments),
            "source": everything.source_of(name),
            "machine": everything.machine(),
            "versions": everything.versions() | {"kserve": "0.21.0"},
        }

    def main(*given):
        files = [f"--results={tmp_path / 'r.json'}", f"--numbers={tmp_path / 'n.md'}"]
        monkeypatch.setattr(sys, "argv", ["all.py", *files, *given])
        everything.main()

    monkeypatch.setattr(everything, "run", run)
    with pytest.raises(SystemExit, match="failed: dropout"):
        main("search", "dropout", "selection")
    assert [name for name, _ in ran] == ["search", "dropout", "selection"]
    found = everything.read(tmp_path / "r.json")
    assert list(found["runs"]) == ["search", "selection"]
    assert (tmp_path / "n.md").read_text() == everything.render(found)
    ran.clear()
    main("search", "selection")
    assert ran == []
    main("search", "--again")
    main("search", "--", "--rounds=1", "--model=mlp")
    assert ran == [("search", []), ("search", ["--rounds=1", "--model=mlp"])]
    (tmp_path / "n.md").unlink()
    main("--render")
    assert (tmp_path / "n.md").exists()
    with pytest.raises(SystemExit):
        main("search", "dropout", "--", "--rounds=1")
    with pytest.raises(SystemExit):
        main("serch")
