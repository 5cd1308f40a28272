"""The wheel holds the whole package, typed, and asks for what it needs."""

import email
import os
import pathlib
import re
import subprocess
import sys
import venv
import zipfile

import numpy
import pytest

import kerasreg

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of what is in the source tree."""
    import shutil

    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "kerasreg", source / "kerasreg")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("kerasreg-*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_every_module_and_the_type_marker(wheel):
    endings = ("py", "css", "js", "json")
    paths = [path for one in endings for path in (ROOT / "kerasreg").rglob(f"*.{one}")]
    sources = {str(path.relative_to(ROOT)) for path in paths}
    assert sources | {"kerasreg/py.typed"} <= set(wheel.namelist())


def test_wheel_asks_for_what_the_package_imports(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    required = {
        re.match(r"[\w-]+", line)[0]
        for line in metadata.get_all("Requires-Dist")
        if ";" not in line
    }
    assert required == {"absl-py", "keras", "keras-tuner", "numpy", "six", "tensorboard"}
    extras = set(metadata.get_all("Provides-Extra"))
    assert {"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "search"} <= extras


@pytest.mark.long
def test_a_program_with_types_is_checked_against_what_is_installed(wheel, tmp_path):
    """As its user's mypy reads it: from the wheel, by py.typed, and strictly."""
    pytest.importorskip("mypy")
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    wheel.extractall(site)
    # What the package needs is where this process has it.
    (site / "needs.pth").write_text(str(pathlib.Path(numpy.__file__).parents[1]))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache"]
    command += ["--config-file", os.devnull, "--python-executable", folder / "bin" / "python"]
    command.append(ROOT / "tools" / "consumer.py")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


def test_requirements_name_exact_versions_and_no_index():
    for path in ROOT.glob("requirements*.txt"):
        for line in path.read_text().splitlines():
            assert re.match(r"#|[\w.-]+==[\w.]+( ;.*)?$", line), (path, line)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("CITATION.cff", r"^version: (.*)$"), ("MODULE.bazel", r'^    version = "(.*)",$')],
)
def test_every_file_tells_the_version_of_the_package(name, pattern):
    versions = re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE)
    assert versions == [kerasreg.__version__]


def test_import_without_a_backend_says_which_to_install(tmp_path):
    # A Keras that fails to import TensorFlow, as Keras does without one.
    (tmp_path / "keras.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'tensorflow'\", name='tensorflow')"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    process = subprocess.run(
        [sys.executable, "-c", "import kerasreg"], env=environment, capture_output=True, text=True
    )
    assert process.returncode != 0
    assert "pip install 'kerasreg[tensorflow-cpu]'" in process.stderr.splitlines()[-1]
