"""`kerasreg`, its help, its version and its flags: what it says and its exit codes."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from helpers.commands import check_refused, command, command_inside, python

import kerasreg

FLAGS = (
    "data", "target", "task", "drop", "columns", "sep", "decimal", "tuner", "trials", "epochs",
    "folds", "groups", "order", "start_from", "time", "seed", "lanes", "retrain", "replicas",
    "workers", "storage", "artifacts", "ray", "output_dir", "resume",
)  # fmt: skip


@pytest.fixture
def no_backend(tmp_path):
    """A folder that hides Keras and TensorFlow from a process."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("keras", "tensorflow"):
        (hidden / f"{name}.py").write_text(
            f"raise ModuleNotFoundError(\"No module named '{name}'\", name={name!r})\n"
        )
    return hidden


@pytest.mark.parametrize("flag", ["--help", "-h", "-help", "--helpfull", "help"])
def test_help_is_readable(tmp_path, flag):
    done = command_inside(flag, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "Usage: kerasreg COMMAND" in done.out
    assert re.search(r"^  search +search dense networks", done.out, re.MULTILINE)
    assert "Exit codes: 0 done, 1 " in done.out
    assert max(map(len, done.out.splitlines())) <= 100


@pytest.mark.parametrize("arguments", [["search", "--help"], ["search", "--trials=3", "-h"]])
def test_search_help_lists_every_flag_with_its_default(tmp_path, arguments):
    done = command_inside(*arguments, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    listed = re.findall(r"^  --(\w+) \(default: (.+)\)$", done.out, re.MULTILINE)
    assert [name for name, _ in listed] == list(FLAGS)
    defaults = dict(listed)
    assert defaults["data"] == "digits"
    assert defaults["target"] == defaults["drop"] == "none"
    assert defaults["output_dir"] == "kerasreg_search"
    assert defaults["trials"] == "none"  # 16, or what ends in --time.
    assert max(map(len, done.out.splitlines())) <= 100
    for choice in ("random", "bayesian", "hyperband", "grid", "classification", "regression"):
        assert choice in done.out


def test_every_flag_of_the_help_has_an_explanation(tmp_path):
    out = command_inside("search", "--help", cwd=tmp_path).out
    for name in FLAGS:
        assert re.search(rf"^  --{name} .*\n      \S.+", out, re.MULTILINE)


def test_version(tmp_path):
    done = command_inside("--version", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, f"kerasreg {kerasreg.__version__}\n", "")


def test_a_process_of_its_own_answers_so_and_is_refused_so(tmp_path):
    assert command("search", "--help", cwd=tmp_path) == command_inside(
        "search", "--help", cwd=tmp_path
    )
    check_refused(command("search", "--trails=3", cwd=tmp_path), "Did you mean", "trials")
    done = command(cwd=tmp_path)
    assert (done.code, done.err) == (2, "")


def test_without_a_command_it_explains_itself_and_fails(tmp_path):
    done = command_inside(cwd=tmp_path)
    assert done.code == 2
    assert "Usage: kerasreg COMMAND" in done.out + done.err
    assert "Traceback" not in done.err


def test_the_entry_point_takes_arguments(tmp_path):
    # As the script that pip makes: it is named after the command.
    code = "import sys; sys.argv[0] = 'bin/kerasreg'; from kerasreg.cli import main; "
    code += "main(['kerasreg', '--version'])"
    done = python("-c", code, cwd=tmp_path)
    assert (done.code, done.out) == (0, f"kerasreg {kerasreg.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serch"], ["'serch'", "search", "--help"]),
        (["--data=digits"], ["--data=digits", "search"]),
        (["search", "--trails=3"], ["trails", "Did you mean", "trials"]),
        (["search", "extra"], ["'extra'", "--help"]),
        (["search", "--trials"], ["--trials", "Missing value"]),
        (["search", "--trials=0"], ["--trials=0", "positive"]),
        (["search", "--trials=many"], ["--trials=many", "int"]),
        (["search", "--epochs=-1"], ["--epochs=-1", "non-negative"]),
        (["search", "--epochs=1.5"], ["--epochs=1.5", "int"]),
        (["search", "--replicas=0"], ["--replicas=0", "positive"]),
        (["search", "--seed=-1"], ["--seed=-1", "integer"]),
        (["search", "--resume=maybe"], ["--resume=maybe", "oolean"]),
        (["search", "--tuner=genetic"], ["--tuner=genetic", "random", "bayesian", "grid"]),
        (["search", "--task=cluster"], ["--task=cluster", "classification", "regression"]),
        (["search", '--drop="a'], ["--drop", "separated"]),
        (["search", "--output-dri=out"], ["output_dri", "Did you mean", "output_dir"]),
        (["search", "--flagfile=missing"], ["missing", "flagfile"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith(("s", "--data")) else "",
)
def test_wrong_arguments_are_one_line_and_code_2(tmp_path, arguments, words):
    check_refused(command_inside(*arguments, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "nearest"),
    [("--tuner=baysian", "bayesian"), ("--task=regresion", "regression")],
)
def test_the_nearest_of_a_flags_choices_is_suggested(tmp_path, flag, nearest):
    done = command_inside("search", flag, cwd=tmp_path)
    check_refused(done, flag)
    assert re.search(rf"[Dd]id you mean:? '?{nearest}", done.err)


@pytest.mark.parametrize("seed", [2**32, 2**63])
def test_a_seed_that_no_generator_takes_is_refused_as_such(tmp_path, seed):
    done = command_inside(
        "search", "--data=wine", f"--seed={seed}", "--trials=1", "--epochs=1", cwd=tmp_path
    )
    check_refused(done, "--seed", str(seed))
    assert "rows" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["search", "--help"], ["--version"]],
    ids=" ".join,
)
def test_help_and_version_need_no_backend(tmp_path, no_backend, arguments):
    done = command(*arguments, cwd=tmp_path, first_on_path=no_backend)
    assert (done.code, done.err) == (0, "")
    assert done.out


def test_bad_input_is_found_before_the_backend_is_loaded(tmp_path, no_backend):
    for arguments, word in (
        (["--trials=0"], "--trials=0"),
        (["--data=digit"], "did you mean 'digits'?"),
        (["--data=wine", "--drop=alcool"], "did you mean 'alcohol'?"),
        (["--resume"], "--resume"),
    ):
        done = command("search", *arguments, cwd=tmp_path, first_on_path=no_backend)
        check_refused(done, word)


def test_without_a_backend_it_says_what_to_install(tmp_path, no_backend):
    done = command("search", "--data=wine", cwd=tmp_path, first_on_path=no_backend)
    assert done.code != 0
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1
    assert "pip install 'kerasreg[tensorflow" in done.err
    assert not (tmp_path / "kerasreg_search").exists()


@pytest.mark.parametrize(
    ("package", "data"),
    [("sklearn", "wine"), ("pandas", "table.csv"), ("pyarrow", "table.parquet")],
)
def test_without_the_search_extra_it_says_what_to_install(tmp_path, package, data):
    (tmp_path / data).write_bytes(b"a,label\n1,2\n")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / f"{package}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{package}'\", name={package!r})\n"
    )
    target = [] if data == "wine" else ["--target=label"]
    done = command("search", f"--data={data}", *target, cwd=tmp_path, first_on_path=hidden)
    check_refused(done, package, "pip install 'kerasreg[search]'")


def test_a_reader_who_leaves_is_no_error(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "kerasreg", "search", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(kerasreg.__file__).parents[1])},
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
