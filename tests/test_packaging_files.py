"""What stands around the package for those who publish it: workflows, recipes, the release."""

import re

import pytest
import yaml
from helpers.scripts import ROOT, module_of

import kerasreg

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FILES = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / "CITATION.cff",
    ROOT / "conda" / "recipe" / "recipe.yaml",
    ROOT / ".pre-commit-config.yaml",
]


def parsed(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def of_pyproject():
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_of_yaml_can_be_read(path):
    assert isinstance(parsed(path), dict)


def test_the_workflow_runs_what_must_pass_before_a_change_lands():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = re.findall(r"^step (.*)$", script, re.MULTILINE)
    jobs = parsed(".github/workflows/checks.yml")["jobs"]
    assert jobs["checks"]["strategy"]["matrix"]["target"] == steps
    assert jobs["checks"]["steps"][-1]["run"] == "make ${{ matrix.target }} PYTHON=python"


def test_workflows_run_make_targets_that_there_are():
    made = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for path in WORKFLOWS:
        for job in parsed(path)["jobs"].values():
            for step in job["steps"]:
                for target in re.findall(r"make ([a-z-]+)", step.get("run", "")):
                    assert target in made, path


def test_every_supported_python_is_tested():
    jobs = parsed(".github/workflows/checks.yml")["jobs"]
    tested = {jobs["checks"]["steps"][1]["with"]["python-version"]}
    tested |= set(jobs["newer-python"]["strategy"]["matrix"]["python"])
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(of_pyproject()["classifiers"]))
    assert sorted(tested) == sorted(classified)
    for workflow in ("checks.yml", "publish.yml"):
        (setup,) = re.findall(
            r"python-version: \|\n((?: +3\.\d+\n)+)",
            (ROOT / ".github" / "workflows" / workflow).read_text(encoding="utf-8"),
        )
        assert sorted(setup.split()) == sorted(classified)


def test_only_a_person_on_a_tag_publishes_and_without_a_token():
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        found = parsed(path)
        # YAML reads `on` as a truth value.
        publishes = "pypi-publish" in text or "twine upload" in text
        assert publishes == (path.name == "publish.yml")
        assert "secrets." not in text
        assert found["permissions"] == {"contents": "read"}
        if publishes:
            assert found[True] == {"workflow_dispatch": None}
            build, publish = found["jobs"]["build"], found["jobs"]["publish"]
            assert build["if"] == "startsWith(github.ref, 'refs/tags/v')"
            assert publish["needs"] == "build"
            assert publish["permissions"] == {"id-token": "write"}
            assert publish["environment"] == "pypi"
            assert "permissions" not in build


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_name_of_a_branch_or_a_tag_is_run_as_a_program(path):
    for job in parsed(path)["jobs"].values():
        for step in job["steps"]:
            given = re.findall(r"\${{ *([\w.]+)", step.get("run", ""))
            assert all(one.startswith("matrix.") for one in given)


@pytest.mark.parametrize("name", ["bug_report.yml", "feature_request.yml"])
def test_issue_templates_have_what_github_asks_for(name):
    found = parsed(f".github/ISSUE_TEMPLATE/{name}")
    assert {"name", "description", "body"} <= set(found)
    ids = [part["id"] for part in found["body"]]
    assert len(ids) == len(set(ids))
    for part in found["body"]:
        assert part["type"] in ("textarea", "input", "dropdown", "checkboxes", "markdown")
        assert part["type"] == "markdown" or part["attributes"]["label"]


def requirement(text):
    """The name and the bounds of a requirement, as a wheel or as conda writes it."""
    name, bounds = re.match(r"([\w-]+)(?:\[.*\])? ?(.*)", text.partition(";")[0].strip()).groups()
    return name, bounds.replace(" ", "")


def test_conda_requires_what_the_wheel_requires():
    recipe, project = parsed("conda/recipe/recipe.yaml"), of_pyproject()
    required = dict(map(requirement, recipe["requirements"]["run"]))
    python = required.pop("python")
    assert python == project["requires-python"]
    assert required == dict(map(requirement, project["dependencies"]))
    optional = dict(map(requirement, recipe["requirements"]["run_constraints"]))
    extras = project["optional-dependencies"]
    assert optional == dict(map(requirement, [*extras["tensorflow"], *extras["search"]]))
    host = dict(map(requirement, [r for r in recipe["requirements"]["host"] if "$" not in r]))
    import tomllib

    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    assert requirement(build["requires"][0]) in host.items()


def test_conda_tells_what_the_wheel_tells():
    recipe, project = parsed("conda/recipe/recipe.yaml"), of_pyproject()
    assert recipe["context"]["version"] == kerasreg.__version__
    assert recipe["context"]["python_min"] == re.match(r">=([\d.]+)", project["requires-python"])[1]
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == "kerasreg = " + project["scripts"]["kerasreg"]
    assert recipe["about"]["summary"] == project["description"]
    assert recipe["about"]["license"] == project["license"]


def test_a_citation_has_what_its_format_asks_for():
    found, project = parsed("CITATION.cff"), of_pyproject()
    assert {"cff-version", "message", "title", "authors"} <= set(found)
    assert found["abstract"].rstrip(".") == project["description"]
    assert found["license"] == project["license"]


@pytest.fixture(scope="module")
def release():
    yield from module_of("tools/release.py")


@pytest.fixture(scope="module")
def check_package():
    yield from module_of("tools/check_package.py")


def test_every_file_tells_the_version_that_would_be_released(release):
    assert release.faults_of_version(kerasreg.__version__, release.read) == []
    assert len(release.faults_of_version("9.9.9", release.read)) == len(release.VERSIONS)
    (fault,) = release.faults_of_version("v1", release.read)
    assert "must be like 1.2.3" in fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("# Changelog\n\n## 1.2.0 (2026-12-31)\n\n- A line.\n\n## 1.1.0 (2026-01-01)\n", None),
        ("# Changelog\n\n## 1.2.0 (unreleased)\n\n- A line.\n", "must name the day"),
        ("# Changelog\n\n## 1.2.0 (2026-12-31)\n\nNothing.\n", "has no line of 1.2.0"),
        ("# Changelog\n\n## 1.1.0 (2026-12-31)\n\n- A line.\n", "must begin with a section"),
        ("# Changelog\n", "must begin with a section"),
    ],
)
def test_a_release_has_a_section_of_its_day_with_lines(release, text, fault):
    found = release.faults_of_changelog("1.2.0", text)
    assert [fault in one for one in found] == ([True] if fault else [])


@pytest.mark.parametrize(
    ("status", "tag", "faults"),
    [
        ("", "", []),
        ("", "head", []),
        ("", "other", ["the tag v1.2.0 is there, and is of another commit"]),
        (" M a.py\n?? b.py", "", ["not committed: M a.py", "not committed: ?? b.py"]),
    ],
)
def test_a_release_is_of_a_clean_tree_and_a_tag_of_its_own(release, status, tag, faults):
    def git(command, *arguments):
        known = "v1.2.0" if tag else ""
        return {"status": status, "rev-parse": "head", "tag": known, "rev-list": tag}[command]

    assert release.faults_of_git("1.2.0", git) == faults


def test_a_release_that_is_not_ready_ends_with_each_reason(release, monkeypatch):
    monkeypatch.setattr("sys.argv", ["release.py", "9.9.9", "--without-package"])
    monkeypatch.setattr(release, "git", lambda *arguments: "")
    ran = []
    done = type("Done", (), {"returncode": 0})
    monkeypatch.setattr(
        release.subprocess, "run", lambda command, **_: ran.append(command[1].name) or done
    )
    with pytest.raises(SystemExit, match=r"(?s)9\.9\.9 may not.*_version\.py tells.*CHANGELOG"):
        release.main()
    assert ran == ["claims.py"]


def test_a_release_publishes_nothing(release):
    text = (ROOT / "tools" / "release.py").read_text(encoding="utf-8")
    assert not re.search(r'"(push|upload|commit)"', text)


def test_the_files_of_a_wheel_and_an_sdist_are_all_and_no_others(check_package):
    needed = check_package.sources()
    assert {"kerasreg/py.typed", "kerasreg/cli/_main.py"} <= needed
    of_wheel = [*needed, "kerasreg-1.dist-info/METADATA"]
    assert check_package.faults_of_wheel(of_wheel, needed) == []
    faults = check_package.faults_of_wheel(
        [*(set(of_wheel) - {"kerasreg/py.typed"}), "tests/test_a.py"], needed
    )
    assert faults == [
        "the wheel lacks kerasreg/py.typed",
        "the wheel has tests/test_a.py, which is not of the package",
    ]
    others = ["pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"]
    of_sdist = [f"kerasreg-1/{name}" for name in [*needed, *others]]
    assert check_package.faults_of_sdist(of_sdist, needed) == []
    assert check_package.faults_of_sdist([*of_sdist[:-1], "kerasreg-1/tests/a.py"], needed) == [
        "the sdist lacks CITATION.cff",
        "the sdist has tests/a.py",
    ]
