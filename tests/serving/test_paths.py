"""Paths that TensorFlow takes for patterns: what is exported there is compared and served."""

import os

import keras
import numpy as np
import pytest

from kerasreg import _files, serving
from kerasreg.serving.server._versions import Version

X = np.ones((3, 2), "float32")


@pytest.fixture(scope="module")
def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])


@pytest.mark.parametrize("name", ["[!a]*", "back\\slash"])
def test_a_model_is_exported_and_served_from_a_path_like_a_pattern(name, model, tmp_path):
    with pytest.warns(UserWarning, match=r"TensorFlow takes .* in a path for a pattern"):
        path = serving.export(model, tmp_path / name / "model", labels=["no", "yes"], samples=X)
    assert serving.read_card(path)["verification"]["samples"] == 3
    version = Version(path, 1)
    expected = model.predict(X, verbose=0)
    (found,) = version.signatures["serve"]({"inputs": X}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # From a table, which is a file of the model.
    assert set(version.signatures["classify"]({"inputs": X})["classes"].ravel()) <= {b"no", b"yes"}
    if name != "back\\slash":  # Once, since it starts a process.
        assert serving.runtime_report(path, model, X, ["tensorflow"], calls=1).passed
    assert os.listdir(tmp_path / name / "model") == ["1"]


def test_a_plain_path_is_the_path_itself_or_a_link(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    with _files.plain_path(tmp_path / "a") as plain:
        assert plain == str(tmp_path / "a")
    odd = tmp_path / "a[b]"
    odd.mkdir()
    (odd / "file").write_text("content")

    def refused(*_, **__):
        raise OSError

    for _ in range(2):
        with _files.plain_path(odd) as plain:
            assert "[" not in plain
            with open(os.path.join(plain, "file")) as file:
                assert file.read() == "content"
        assert not os.path.exists(plain)
        assert (odd / "file").exists()
        monkeypatch.setattr(os, "symlink", refused)
