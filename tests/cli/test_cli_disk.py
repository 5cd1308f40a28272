"""Folders of any name, a disk that is full, a folder that is deleted: a whole end, or one line."""

import errno
import os
import re
import shutil
import subprocess
import sys

import keras
import pytest
from helpers.commands import SearchFolder, command, command_inside, python

from kerasreg import _files, tuners
from kerasreg.cli import _ending, _job

SEARCH = ("search", "--data=wine", "--trials=2", "--epochs=2")

# A file may not grow beyond a limit: as far as a program can tell, the disk is full.
LIMITED = """
import resource, sys
_, limit, *arguments = sys.argv
sys.argv = ["kerasreg", *arguments]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
from kerasreg.cli import main
main()
"""


@pytest.mark.long
def test_an_output_folder_may_be_called_like_a_pattern(tmp_path):
    done = command_inside(*SEARCH, "--output_dir=o[1]", cwd=tmp_path)
    assert done.code == 0
    (line,) = done.err.splitlines()
    assert line.startswith("kerasreg: note: TensorFlow takes '[' in a path for a pattern")
    found = SearchFolder(tmp_path / "o[1]")
    assert found.report["verification"]["relative_difference"] <= 1e-6
    # And goes on with the trials that there are.
    before = {trial["trial_id"]: trial["score"] for trial in found.trials}
    done = command_inside("search", "--resume", "--trials=3", "--output_dir=o[1]", cwd=tmp_path)
    assert done.code == 0
    assert "trial 3/3" in done.out
    assert "trial 2/3" not in done.out
    after = {trial["trial_id"]: trial["score"] for trial in found.trials}
    assert len(after) == 3
    assert before.items() <= after.items()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits.")
@pytest.mark.parametrize("limit", [1_000, 30_000])
def test_a_full_disk_is_one_line_and_code_1(limit, tmp_path):
    done = python("-c", LIMITED, str(limit), *SEARCH, "--output_dir=out", cwd=tmp_path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("kerasreg: ")
    assert "File too large" in line
    done = command_inside("search", "--resume", "--output_dir=out", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")


def test_a_full_disk_is_told_with_the_folder(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(_job, "write_json", full)
    done = command_inside(*SEARCH, "--output_dir=out", cwd=tmp_path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert re.fullmatch(
        r"kerasreg: the disk of 'out' is full, \d+ bytes are free: "
        r"\[Errno 28\] No space left on device",
        line,
    )


@pytest.mark.long
def test_a_folder_that_is_deleted_meanwhile_is_told_in_one_line(tmp_path, monkeypatch):
    ended = tuners.run_search

    def search(*args, **kwargs):
        found = ended(*args, **kwargs)
        shutil.rmtree(tmp_path / "out")
        return found

    monkeypatch.setattr(tuners, "run_search", search)
    done = command_inside(*SEARCH, "--output_dir=out", cwd=tmp_path)
    # The weights of the trials went with it.
    *_, line = done.err.splitlines()
    assert done.code == 1
    assert "no file of their weights" in line
    assert "out/search" in line
    done = command_inside("search", "--resume", "--output_dir=out", cwd=tmp_path)
    assert done.code == 2
    assert "there is none in 'out'" in done.err


# What is written when, by its name: of trials, of the table of all trials, of the model, of the
# report, and of the page.
FULL = ["trial.json", "lanes-", "results.csv", "ensemble.keras", "report.json", "report.html"]


def _full_at(name, monkeypatch):
    """Lets the disk be full where a file of that name is written: as far as a program can tell."""
    write, save = _files._write_bytes, keras.Model.save

    def written(path, content):
        if os.path.basename(path).startswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    def saved(model, path, *args, **kwargs):
        if os.path.basename(path).endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(model, path, *args, **kwargs)

    monkeypatch.setattr(_files, "_write_bytes", written)
    monkeypatch.setattr(keras.Model, "save", saved)


def _scores(folder):
    return {trial["trial_id"]: pytest.approx(trial["score"], rel=1e-5) for trial in folder.trials}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed")
    done = command_inside(*SEARCH, "--output_dir=out", cwd=path)
    assert done.code == 0, done.err
    return SearchFolder(path / "out")


@pytest.mark.long
@pytest.mark.parametrize("name", FULL)
def test_a_disk_that_is_full_at_some_time_costs_nothing_but_that(
    name, undisturbed, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        _full_at(name, patch)
        done = command_inside(*SEARCH, "--output_dir=out", cwd=tmp_path)
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert line.startswith("kerasreg: the disk of 'out' is full")
    assert "No space left on device" in line
    assert re.search(r"\d+ bytes are free", line)
    if name != "ensemble.keras":  # Of which only Keras knows how large it will be.
        assert re.search(r"\d+ bytes are needed", line)
        assert name in line
    done = command_inside("search", "--resume", "--output_dir=out", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    found = SearchFolder(tmp_path / "out")
    assert _scores(found) == _scores(undisturbed)
    ensemble, expected = found.report["ensemble"], undisturbed.report["ensemble"]
    assert ensemble["score"] == pytest.approx(expected["score"], rel=1e-4)
    assert not [path for path in found.path.rglob(".*") if path.is_file()]


def _size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="who may mount a disk")
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 0.9])
def test_a_small_disk_that_fills_up(part, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    room = int(_size(undisturbed.path) * part)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    try:
        done = command(*SEARCH, "--output_dir=disk/out", cwd=tmp_path)
        assert done.code == 1, done.err
        notes = [line for line in done.err.splitlines() if "kerasreg: note:" not in line]
        assert len(notes) == 1, done.err
        assert re.search(r"is full.*\d+ bytes are free", notes[0]), done.err
        more = ["mount", "-o", "remount,size=1g", str(disk)]
        subprocess.run(more, check=True, capture_output=True)
        done = command("search", "--resume", "--output_dir=disk/out", cwd=tmp_path)
        assert done.code == 0, done.err
        assert _scores(SearchFolder(disk / "out")) == _scores(undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Files that are damaged.


def _truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _foreign(path):
    path.write_text('{"something": "else"}')


DAMAGES = {
    "truncated": _truncated,
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "foreign": _foreign,
}
# What nobody can miss who does not know that it was there: to be looked at, and nothing else.
LOOKED_AT = {"learning_curves.json", "search_log.json"}
# What a search writes anew when it goes on, whatever is there.
WRITTEN_ANEW = {"results.csv", "report.html", "report.md", "report.json", "search_report.json",
                "ensemble.keras"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damaged_file_of_a_search_is_named_or_made_good(
    damage, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr(_ending, "baselines", lambda *args, **kwargs: {})
    files = sorted(path for path in undisturbed.path.rglob("*") if path.is_file())
    assert {"job.json", "oracle.json", "trial.json", "saved_model.pb"} <= {p.name for p in files}
    wrong = []
    for number, file in enumerate(files):
        relative = file.relative_to(undisturbed.path)
        one = tmp_path / str(number)
        shutil.copytree(undisturbed.path, one / "out")
        DAMAGES[damage](one / "out" / relative)
        done = command_inside("search", "--resume", "--output_dir=out", cwd=one)
        lines = done.err.splitlines()
        named = any(file.name in line or "lanes-" in line for line in lines)
        at_end = [line for line in lines if not line.startswith("kerasreg: note:")]
        told = file.name in done.out or named
        if done.code:
            good = len(at_end) == 1 and (named or (file.name == "job.json" and "'out'" in done.err))
        else:
            found = SearchFolder(one / "out")
            good = not at_end and _scores(found) == _scores(undisturbed)
            quiet = file.name in WRITTEN_ANEW or relative.parts[0] == "model"
            quiet |= file.name in LOOKED_AT and damage == "missing"
            # It holds nothing, so that there is nothing foreign in it.
            quiet |= file.name == "tuner0.json" and damage == "foreign"
            good &= told or quiet
        if not good or "Traceback" in done.err:
            wrong.append((str(relative), done.code, done.err))
        shutil.rmtree(one)
    assert wrong == []
