"""Whether a version may be released from this source: looks at everything, and publishes nothing.

Usage: python tools/release.py VERSION [--without-package]

It fails with a line for each thing that is not as it must be: the version in each file that tells
it, its section in CHANGELOG.md with the day of the release, a clean working tree, the tag, what the
README and the docs claim (`make bench-check`), and the package (`tools/check_package.py`, which
`--without-package` leaves out). At the end it prints what a person then does. The tests are for
.ci/run.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Each file that tells the version, and how.
VERSIONS = {
    "kerasreg/_version.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
    "MODULE.bazel": r'^    version = "(.*)",$',
    "conda/recipe/recipe.yaml": r'^  version: "(.*)"$',
}
NEXT = """{version} may be released. What a person does now:

  git tag --annotate v{version} --message "kerasreg {version}"
  git push origin v{version}
  and starts the workflow `publish` on that tag."""


def faults_of_version(version, read):
    """What of the version is not told by each file.

    Args:
        version: to be released.
        read: gives the text of a file by its path in the source tree.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        return [f"VERSION must be like 1.2.3 or 1.2.3rc1. Received: {version!r}"]
    faults = []
    for path, pattern in VERSIONS.items():
        found = re.findall(pattern, read(path), re.MULTILINE)
        if found != [version]:
            faults.append(f"{path} tells the version {', '.join(found) or 'nowhere'}")
    return faults


def faults_of_changelog(version, text):
    """What is wrong with the first section of the changelog."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    if not sections or not re.match(rf"{re.escape(version)}\b", sections[0]):
        return [f"CHANGELOG.md must begin with a section of {version}"]
    title, _, body = sections[0].partition("\n")
    faults = []
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", title.strip()):
        faults.append(f"CHANGELOG.md must name the day: '## {version} (2026-12-31)', not '{title}'")
    if not re.search(r"^- \S", body, re.MULTILINE):
        faults.append(f"CHANGELOG.md has no line of {version}")
    return faults


def faults_of_git(version, git):
    """What is wrong with the working tree and the tag.

    Args:
        version: to be released.
        git: runs git with arguments, and returns what it prints.
    """
    faults = [f"not committed: {line.strip()}" for line in git("status", "--porcelain").split("\n")]
    faults = [fault for fault in faults if fault != "not committed: "]
    tag, head = f"v{version}", git("rev-parse", "HEAD")
    known = git("tag", "--list", tag) and git("rev-list", "-n", "1", tag)
    if known and known != head:
        faults.append(f"the tag {tag} is there, and is of another commit")
    return faults


def git(*arguments):
    """What git prints."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def read(path):
    """The text of a file of the source tree, or none."""
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.exists() else ""


def main():
    """Ends with 1 and a line for each fault, or prints what to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", metavar="VERSION")
    parser.add_argument("--without-package", action="store_true")
    options = parser.parse_args()
    faults = [
        *faults_of_version(options.version, read),
        *faults_of_changelog(options.version, read("CHANGELOG.md")),
        *faults_of_git(options.version, git),
    ]
    programs = ["benchmarks/claims.py"]
    if not options.without_package and not faults:  # It takes minutes.
        programs.append("tools/check_package.py")
    for program in programs:
        if subprocess.run([sys.executable, ROOT / program], check=False).returncode:
            faults.append(f"{program} failed")
    if faults:
        sys.exit("\n".join([f"{options.version} may not be released:", *faults]))
    print(NEXT.format(version=options.version))


if __name__ == "__main__":
    main()
