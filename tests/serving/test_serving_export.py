"""Published versions are numbered, whole at every instant, and never overwritten."""

import functools
import os
import stat
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.processes import needs_fork, run_program

from kerasreg import serving

PROGRAM = os.path.join(os.path.dirname(__file__), "exports_program.py")

# Without the comparison; `test_serving_verify.py` has it.
export = functools.partial(serving.export, tolerance=None)


def adding(number):
    """A model that adds a number to its input, so that versions can be told apart."""
    return keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(1.0, offset=number)])


def added_by(path):
    """What a published model adds; loads it, which needs all of its files."""
    signature = tf.saved_model.load(path).signatures["serving_default"]
    ((name, _),) = signature.structured_input_signature[1].items()
    (values,) = signature(**{name: tf.zeros((1, 1))}).values()
    return int(values.numpy()[0, 0])


def files(folder):
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                found[os.path.relpath(os.path.join(parent, name), folder)] = file.read()
    return found


# Versions.


def test_versions_are_numbered_from_one_and_each_is_the_model_of_its_export(tmp_path):
    paths = [export(adding(10 * number), tmp_path) for number in (1, 2, 3)]
    assert paths == [str(tmp_path / str(version)) for version in (1, 2, 3)]
    assert serving.list_versions(tmp_path) == [1, 2, 3]
    assert [added_by(path) for path in paths] == [10, 20, 30]


def test_an_export_changes_nothing_that_is_published(tmp_path):
    first = export(adding(1), tmp_path)
    before = files(first)
    export(adding(2), tmp_path)
    assert files(first) == before
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]  # Nothing else is left there.


def test_the_next_version_follows_the_largest_one(tmp_path):
    for name in ("2", "10"):
        (tmp_path / name).mkdir()
    assert export(adding(1), tmp_path) == str(tmp_path / "11")
    assert serving.list_versions(tmp_path) == [2, 10, 11]


def test_versions_are_in_numerical_order(tmp_path):
    for name in ("9", "10", "100", "1"):
        (tmp_path / name).mkdir()
    assert serving.list_versions(tmp_path) == [1, 9, 10, 100]


@pytest.mark.parametrize(
    "name",
    [".staging-abc", "latest", "1.bak", "-3", "2.5", "v4", pytest.param("²", id="superscript")],
)
def test_a_directory_whose_name_is_no_number_is_no_version(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / "4").mkdir()
    assert serving.list_versions(tmp_path) == [4]


def test_a_file_is_no_version_and_is_not_overwritten(tmp_path):
    (tmp_path / "1").write_text("notes")
    assert serving.list_versions(tmp_path) == []
    path = export(adding(3), tmp_path)
    assert (tmp_path / "1").read_text() == "notes"
    assert added_by(path) == 3


def test_there_are_no_versions_where_there_is_no_directory(tmp_path):
    assert serving.list_versions(tmp_path / "missing") == []


def test_the_base_directory_is_made_with_its_parents(tmp_path):
    base_dir = tmp_path / "models" / "digits"
    assert export(adding(1), base_dir) == str(base_dir / "1")


# What is published.


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_both_signatures_give_what_keras_gives_for_any_batch_size(tmp_path, batch):
    inputs = keras.Input((3,), name="features")
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(4, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    loaded = tf.saved_model.load(export(model, tmp_path))
    x = np.random.default_rng(0).normal(size=(batch, 3)).astype("float32")
    expected = model.predict(x, verbose=0)
    for name in ("serve", "serving_default"):
        (found,) = loaded.signatures[name](features=tf.constant(x)).values()
        assert found.numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_a_version_is_readable_by_other_users_as_the_umask_allows(tmp_path):
    # A model server is another user. The staging folder is private.
    old = os.umask(0o022)
    try:
        path = export(adding(1), tmp_path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755
    assert os.stat(os.path.join(path, "saved_model.pb")).st_mode & 0o044 == 0o044


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be synced here")
def test_a_version_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    synced, renamed = set(), []
    fsync, rename = os.fsync, os.rename

    def identity(status):
        return status.st_dev, status.st_ino

    def recording_fsync(handle):
        fsync(handle)
        synced.add(identity(os.fstat(handle)))

    def checking_rename(source, target):
        for parent, _, names in os.walk(source):
            for path in (parent, *(os.path.join(parent, name) for name in names)):
                assert identity(os.stat(path)) in synced, path
        rename(source, target)
        renamed.append(target)
        synced.clear()

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(os, "rename", checking_rename)
    path = export(adding(1), tmp_path)
    assert renamed == [path]
    assert identity(os.stat(tmp_path)) in synced


# What fails.


def test_a_model_that_is_not_built_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)], name="unfinished")
    with pytest.raises(ValueError, match=r"`model`.*unfinished"):
        export(model, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_file_as_base_directory_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("notes")
    with pytest.raises(ValueError, match="`base_dir`"):
        export(adding(1), file)
    assert file.read_text() == "notes"


@pytest.mark.parametrize("function", ["fsync", "rename"])
def test_an_export_that_fails_publishes_nothing_and_leaves_nothing(tmp_path, monkeypatch, function):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    export(adding(1), tmp_path)
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        export(adding(2), tmp_path)
    assert os.listdir(tmp_path) == ["1"]


# At the same time.


@pytest.mark.parametrize("shared", [False, True], ids=["a-model-each", "one-model"])
def test_exports_from_several_threads_get_different_versions(tmp_path, shared):
    models = [adding(7)] * 4 if shared else [adding(number) for number in range(4)]
    paths = {}
    start = threading.Barrier(4)

    def run(index):
        start.wait()
        paths[index] = export(models[index], tmp_path)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert serving.list_versions(tmp_path) == [1, 2, 3, 4]
    assert len(set(paths.values())) == 4
    for index, path in paths.items():
        assert added_by(path) == (7 if shared else index)
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "3", "4"]


def test_a_version_that_another_export_takes_meanwhile_is_passed_over(tmp_path, monkeypatch):
    rename = os.rename
    taken = []

    def late(source, target):
        if not taken:  # Between the choice of the number and the rename.
            os.makedirs(target)
            with open(os.path.join(target, "saved_model.pb"), "w") as file:
                file.write("another export")
            taken.append(target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert export(adding(1), tmp_path) == str(tmp_path / "2")
    assert files(tmp_path / "1") == {"saved_model.pb": b"another export"}


@needs_fork
@pytest.mark.parametrize(
    ("processes", "exports"),
    [
        pytest.param(3, 3, marks=pytest.mark.long),
        pytest.param(8, 50, marks=pytest.mark.exports),
    ],
)
def test_exports_from_several_processes_get_different_versions_that_a_reader_sees_whole(
    tmp_path, processes, exports
):
    base_dir, count = tmp_path / "base", processes * exports
    base_dir.mkdir()
    done = run_program(PROGRAM, "together", processes, exports, base_dir, timeout=3600)
    paths = done["paths"]
    assert serving.list_versions(base_dir) == list(range(1, count + 1))
    expected = {str(base_dir / str(version)) for version in range(1, count + 1)}
    assert set(paths.values()) == expected
    # Nothing else is left there.
    assert len(os.listdir(base_dir)) == count
    for number, path in paths.items():
        assert added_by(path) == int(number)
    assert done["read"]["loads"] >= 2
    print(done["read"])


# Kills.


@pytest.mark.long
@needs_fork
def test_an_export_killed_before_any_of_its_steps_publishes_all_or_nothing(tmp_path):
    killed = run_program(PROGRAM, "steps", tmp_path, timeout=3600)["killed"]
    # Three files and three folders are synced, renamed, and the base is synced.
    assert len(killed) >= 6
    published = []
    for one in killed:
        numbers = [int(name) for name in one["left"] if name.isdecimal()]
        others = [name for name in one["left"] if not name.isdecimal()]
        assert all(name.startswith(".staging-") for name in others)
        assert numbers in ([], [1])
        published.append(numbers == [1])
        # The next export is not disturbed, and what was published is whole.
        assert one["exit_code"] == 0
        assert serving.list_versions(one["base_dir"]) == [*numbers, len(numbers) + 1]
        found = [added_by(os.path.join(one["base_dir"], "1"))]
        assert found == ([5] if numbers else [6])
    # Only the last step comes after the rename.
    assert published == [False] * (len(killed) - 1) + [True]


@pytest.mark.parametrize(
    "kills",
    [pytest.param(5, marks=pytest.mark.long), pytest.param(50, marks=pytest.mark.exports)],
)
@needs_fork
def test_exports_killed_at_random_moments_leave_only_versions_that_load(tmp_path, kills):
    base_dir = tmp_path / "base"
    codes = run_program(PROGRAM, "moments", 2, kills, base_dir, timeout=3600)["codes"]
    assert codes == [-9] * kills
    versions = serving.list_versions(base_dir)
    assert versions == list(range(1, len(versions) + 1))
    added = [added_by(str(base_dir / str(version))) for version in versions]
    assert added[0] == 0
    assert added == sorted(added)
    assert set(added) <= set(range(kills + 1))
