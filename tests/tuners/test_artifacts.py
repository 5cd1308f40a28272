"""Files by their content: whole or not there, in a folder and by fsspec."""

import hashlib
import os
import sys
from typing import ClassVar

import pytest

from kerasreg.tuners import _artifacts
from kerasreg.tuners._artifacts import Artifacts

fsspec = pytest.importorskip("fsspec.implementations.memory")
fsspec = pytest.importorskip("fsspec")


class Renames(fsspec.implementations.memory.MemoryFileSystem):
    """A store that shows a file while it is written."""

    protocol = "renames"
    moved: ClassVar[list] = []

    def mv(self, path1, path2, **given):
        self.moved.append((path1, path2))
        super().mv(path1, path2, **given)


@pytest.fixture(params=["folder", "file", "memory", "renames"])
def where(request, tmp_path):
    fsspec.register_implementation("renames", Renames, clobber=True)
    return {
        "folder": str(tmp_path / "files"),
        "file": f"file://{tmp_path}/files",
        "memory": f"memory://{tmp_path.name}",
        "renames": f"renames://{tmp_path.name}",
    }[request.param]


def test_a_file_is_named_by_its_content_and_kept_once(where, tmp_path, monkeypatch):
    files = Artifacts(where)
    files.check()
    name = files.put(b"weights", ".npz")
    assert name == hashlib.sha256(b"weights").hexdigest() + ".npz"
    writes = []
    monkeypatch.setattr(files, "_write", lambda *of: writes.append(of))
    assert files.put(b"weights", ".npz") == name
    assert writes == []
    again = Artifacts(where)
    assert again.get(name) == b"weights"
    with open(again.local(name, str(tmp_path / "copies")), "rb") as file:
        assert file.read() == b"weights"


def test_where_a_file_is_seen_while_it_is_written_it_is_renamed(tmp_path):
    fsspec.register_implementation("renames", Renames, clobber=True)
    Renames.moved.clear()
    name = Artifacts(f"renames://{tmp_path.name}").put(b"weights")
    ((beside, path),) = Renames.moved
    assert path.endswith(name)
    assert os.path.basename(beside).startswith(".")


def test_what_is_not_what_was_written_is_not_read(where):
    files = Artifacts(where)
    name = files.put(b"weights")
    files._write(name, b"weig")
    with pytest.raises(RuntimeError, match=rf"cannot be read.*{name} is not what was written"):
        files.get(name)


def test_what_is_not_there_is_said(where):
    with pytest.raises(RuntimeError, match=r"`artifacts` cannot be read: .*FileNotFoundError"):
        Artifacts(where).get("0" * 64)


def test_what_fails_is_tried_again(where, monkeypatch):
    monkeypatch.setattr(_artifacts, "_SECONDS_BETWEEN_TRIES", (0.0, 0.0))
    files, tries = Artifacts(where), []
    write = files._write

    def failing(*given):
        tries.append(1)
        if len(tries) < 3:
            raise OSError("busy")
        write(*given)

    monkeypatch.setattr(files, "_write", failing)
    assert files.get(files.put(b"weights")) == b"weights"
    tries.clear()
    monkeypatch.setattr(files, "_write", lambda *_: tries.append(1) or int("busy"))
    with pytest.raises(RuntimeError, match=r"`artifacts` cannot be written: .*ValueError"):
        files.put(b"others")
    assert len(tries) == 3


def test_bad_places_are_refused_without_their_passwords(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"`artifacts` must be the path of a folder.*artifacts=3"):
        Artifacts(3)
    with pytest.raises(RuntimeError, match=r"'ftpp://me:\*\*\*@host/x': ValueError: .*ftpp"):
        Artifacts("ftpp://me:secret@host/x")
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match=r"`artifacts` cannot be written: .*file"):
        Artifacts(tmp_path / "file" / "below").check()
    for name in [name for name in sys.modules if name.startswith("fsspec")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'kerasreg\[artifacts\]'"):
        Artifacts("memory://x")
    Artifacts(tmp_path / "a folder needs no fsspec").check()
