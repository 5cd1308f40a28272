"""Folders of any name, a disk that is full, a folder that is deleted: a whole end, or one line."""

import os
import shutil
import sys

import pytest
from helpers.commands import SearchFolder, command_inside, python

from kerasreg import tuners
from kerasreg.cli import _job

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
    assert line == "kerasreg: the disk of 'out' is full: [Errno 28] No space left on device"


@pytest.mark.long
def test_a_folder_that_is_deleted_meanwhile_costs_no_more_than_it_held(tmp_path, monkeypatch):
    ended = tuners.run_search

    def search(*args, **kwargs):
        found = ended(*args, **kwargs)
        shutil.rmtree(tmp_path / "out")
        return found

    monkeypatch.setattr(tuners, "run_search", search)
    done = command_inside(*SEARCH, "--output_dir=out", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert SearchFolder(tmp_path / "out").report["verification"]["relative_difference"] <= 1e-6
    done = command_inside("search", "--resume", "--output_dir=out", cwd=tmp_path)
    assert done.code == 2
    assert "there is none in 'out'" in done.err
