"""Builds the sdist and the wheel, and checks both as somebody who installs them meets them.

Usage: python tools/check_package.py [--pythons=3.11,3.12,3.13] [--extra=tensorflow-cpu]
           [--keep-environments]

What is built is left in dist/. The wheel is built from the sdist alone, so that the sdist has all
that it needs. `twine check` reads the description. Then for each of these Pythons that is there,
in an environment that has nothing but the wheel and what it asks for: `tools/consumer.py` runs,
away from this source; `kerasreg --version` answers; and `mypy --strict` reads that program. With
the oldest Python this is done once more, with the oldest versions of what the wheel asks for. It
needs `build`, `twine` and `mypy`; `make package` installs them. Pythons are looked for as
`python3.X`, and among those of pyenv.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DIST, ENVIRONMENTS = ROOT / "dist", ROOT / "build" / "package"
# With this Python also the oldest versions that pyproject.toml admits.
OLDEST, LOWEST = "3.11", ROOT / "requirements-lowest.txt"
CONSUMER = ROOT / "tools" / "consumer.py"
# What the wheel has besides `kerasreg-VERSION.dist-info`.
ENDINGS = (".py", ".css", ".js", ".json")


def version():
    """The version of the package."""
    text = (ROOT / "kerasreg" / "_version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.*)"$', text, re.MULTILINE)[1]


def sources():
    """The paths of all files of the package that an installed one needs."""
    package = ROOT / "kerasreg"
    found = {path for ending in ENDINGS for path in package.rglob(f"*{ending}")}
    return {path.relative_to(ROOT).as_posix() for path in found} | {"kerasreg/py.typed"}


def faults_of_wheel(names, needed):
    """What a wheel with these files lacks, or has too much."""
    lacks = sorted(needed - set(names))
    others = sorted(
        name for name in names if name not in needed and not re.match(r"[^/]+\.dist-info/", name)
    )
    return [f"the wheel lacks {name}" for name in lacks] + [
        f"the wheel has {name}, which is not of the package" for name in others
    ]


def faults_of_sdist(names, needed):
    """What an sdist with these files lacks, or has too much; names begin with its folder."""
    inside = {name.partition("/")[2] for name in names}
    needed = needed | {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"}
    lacks = sorted(needed - inside)
    others = sorted(name for name in inside if re.match(r"(tests|benchmarks|\.[a-z]+)/", name))
    return [f"the sdist lacks {name}" for name in lacks] + [
        f"the sdist has {name}" for name in others
    ]


def pythons(wanted):
    """The programs of the wanted versions of Python that are there, by version."""
    found = {}
    root = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    for one in wanted:
        known = [*sorted(root.glob(f"versions/{one}.*/bin/python")), shutil.which(f"python{one}")]
        for program in filter(None, known):
            script = "import sys; print('%d.%d' % sys.version_info[:2])"
            done = run([program, "-c", script], check=False, quiet=True)
            if done.stdout.strip() == one:
                found[one] = str(program)
                break
    return found


def run(arguments, check=True, quiet=False, **given):
    """Runs a program away from the source, which it must not find."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    done = subprocess.run(
        list(map(str, arguments)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **given,
    )
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))} failed:\n{done.stdout}{done.stderr}")
    if not quiet and done.stdout.strip():
        print(f"  {done.stdout.strip().splitlines()[-1]}", flush=True)
    return done


def built():
    """The paths of the sdist and of the wheel that is built from it."""
    shutil.rmtree(DIST, ignore_errors=True)
    # What an earlier build has left must not get into this one.
    for left in (ROOT / "build" / "lib", ROOT / "kerasreg.egg-info"):
        shutil.rmtree(left, ignore_errors=True)
    run([sys.executable, "-m", "build", "--outdir", DIST, ROOT])
    (sdist,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    return sdist, wheel


def check_files(sdist, wheel):
    """Ends the process if a file is missing, or there that should not be."""
    needed = sources()
    with tarfile.open(sdist) as archive:
        faults = faults_of_sdist([m.name for m in archive.getmembers() if m.isfile()], needed)
    with zipfile.ZipFile(wheel) as archive:
        faults += faults_of_wheel(archive.namelist(), needed)
    if faults:
        sys.exit("\n".join(faults))
    print(f"  {len(needed)} files of the package are in both", flush=True)


def check_installed(python, name, wheel, extra, constraints=()):
    """Installs the wheel for one Python, and uses it there.

    Args:
        python: the program.
        name: of the environment.
        wheel: the path of the wheel.
        extra: what is installed with it.
        constraints: a file of versions, if not the newest ones are to be installed.
    """
    folder = ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    run([python, "-m", "venv", folder])
    program = folder / "bin" / "python"
    asked = f"kerasreg[{extra}] @ {wheel.as_uri()}"
    options = [f"--constraint={path}" for path in constraints]
    run([program, "-m", "pip", "install", "--quiet", *options, asked], quiet=True)
    run([program, "-m", "pip", "check"])
    run([program, CONSUMER, version()], cwd=folder)
    said = run([folder / "bin" / "kerasreg", "--version"], cwd=folder).stdout.split()
    if said != ["kerasreg", version()]:
        sys.exit(f"`kerasreg --version` says {' '.join(said)}, and not {version()}")
    options = ["--cache-dir", folder / "mypy", "--config-file", os.devnull]
    mypy = [sys.executable, "-m", "mypy", "--strict", *options, "--python-executable", program]
    run([*mypy, CONSUMER], cwd=folder)


def main():
    """Builds, and checks with each Python."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", default="3.11,3.12,3.13")
    parser.add_argument("--extra", default="tensorflow-cpu", help="that installs a backend")
    parser.add_argument("--keep-environments", action="store_true")
    options = parser.parse_args()
    print("== build", flush=True)
    sdist, wheel = built()
    check_files(sdist, wheel)
    print("== twine check", flush=True)
    run([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel])
    wanted = options.pythons.split(",")
    found = pythons(wanted)
    for name, python in found.items():
        print(f"== Python {name}", flush=True)
        check_installed(python, name, wheel, options.extra)
    if OLDEST in found:
        print(f"== Python {OLDEST}, with the oldest versions of what is needed", flush=True)
        check_installed(found[OLDEST], "oldest", wheel, options.extra, [LOWEST])
    if not options.keep_environments:
        shutil.rmtree(ENVIRONMENTS, ignore_errors=True)
    missing = [name for name in wanted if name not in found]
    if missing:
        print(f"not there, and not checked: Python {', '.join(missing)}")
    if not found:
        sys.exit("None of these Pythons is there.")
    print(f"{sdist.name} and {wheel.name} are good with Python {', '.join(found)}.")


if __name__ == "__main__":
    main()
