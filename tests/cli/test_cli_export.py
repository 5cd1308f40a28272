"""`kerasreg export`: a saved model becomes the next version, or nothing is published."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.commands import check_refused, command, command_inside

from kerasreg import serving
from kerasreg.layers import ScheduledDropout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a model, samples of it, and files that are none."""
    path = tmp_path_factory.mktemp("export")
    layers = [keras.layers.Dense(4), ScheduledDropout(0.5), keras.layers.Dense(2, "softmax")]
    keras.Sequential([keras.Input((3,), name="x"), *layers]).save(path / "net.keras")
    x = np.random.default_rng(0).normal(size=(9, 3)).astype("float32")
    np.save(path / "x.npy", x)
    np.savez(path / "x.npz", x=x)
    np.savez(path / "held_out.npz", x=x, y=np.arange(9) % 2)
    np.save(path / "objects.npy", np.array([None]), allow_pickle=True)
    (path / "more.json").write_text(json.dumps({"data": {"from": "nowhere"}}))
    (path / "list.json").write_text("[1]")
    (path / "text.keras").write_text("no model")
    return path


def test_a_model_is_exported_with_all_that_was_asked_for(folder):
    flags = ["--samples=x.npz", "--labels=no,yes", "--outputs=score", "--passes=4"]
    arguments = ["export", "net.keras", "--base_dir=models/net", "--card=more.json", *flags]
    done = command_inside(*arguments, cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:2] == [
        "exported models/net/1",
        "signatures: classify, predict_mc, serve, serve_examples",
    ]
    assert re.search(r"outputs equal Keras' on 9 samples \(largest relative difference", done.out)
    signatures = tf.saved_model.load(str(folder / "models/net/1")).signatures
    model = keras.saving.load_model(folder / "net.keras")
    x = np.load(folder / "x.npy")
    found = signatures["serve"](x=tf.constant(x))["score"]
    np.testing.assert_allclose(found, np.array(model(x)), rtol=1e-5)
    card = json.loads((folder / "models/net/1/assets.extra/model_card.json").read_text())
    assert card["data"] == {"from": "nowhere"}
    with open(folder / "models/net/1/assets/labels.txt", encoding="utf-8") as file:
        assert file.read().splitlines() == ["no", "yes"]
    means = signatures["predict_mc"](x=tf.constant(x))
    assert set(means) == {"score_mean", "score_variance"}


@pytest.mark.long
def test_a_process_of_its_own_exports_the_next_version_and_is_quiet(folder):
    (folder / "models/next/6").mkdir(parents=True)
    done = command("export", "net.keras", "--base_dir=models/next", cwd=folder)
    assert (done.code, done.err) == (0, "")
    first, second, third = done.out.splitlines()
    assert first == "exported models/next/7"
    assert second == "signatures: serve, serve_examples"
    assert re.fullmatch(
        r"loaded in a new process without Keras and kerasreg: outputs equal Keras' on 7 samples "
        r"\(largest relative difference \d\.\de[+-]\d\d, limit 1e-06\)",
        third,
    )


def test_what_cannot_be_compared_is_said(folder):
    inputs = keras.Input((None,), name="series")
    keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs)).save(folder / "series.keras")
    done = command_inside("export", "series.keras", "--base_dir=models/series", cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(
        "not compared with Keras: give --samples, for strings and unknown axes\n"
    )


def test_what_differs_more_than_the_tolerance_is_not_published(folder, monkeypatch):
    def compare(path, served, features, tolerance):
        return serving.Verification(9, 2e-6, tolerance)

    monkeypatch.setattr("kerasreg.serving._export.compare", compare)
    arguments = ["export", "net.keras", "--base_dir=models/strict"]
    done = command_inside(*arguments, cwd=folder)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("kerasreg: The exported model differs from Keras by 2.0e-06")
    assert list((folder / "models/strict").iterdir()) == []
    done = command_inside(*arguments, "--tolerance=1e-5", cwd=folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("(largest relative difference 2.0e-06, limit 1e-05)\n")


def test_a_quantized_model_is_compared_with_the_original(folder):
    flags = ["--quantization=int8", "--validation_data=held_out.npz", "--original=net.keras"]
    done = command_inside("export", "net.keras", "--base_dir=models/small", *flags, cwd=folder)
    assert done.code == 0, done.err
    found = dict(line.rsplit(": ", 1) for line in done.out.splitlines() if ": " in line)
    assert found["against the original, samples"] == "9"
    assert 0 < float(found["against the original, relative difference"]) < 0.05
    card = json.loads((folder / "models/small/1/assets.extra/model_card.json").read_text())
    assert card["quantization"]["to"] == "int8"
    assert card["against_original"]["samples"] == 9
    refused = command_inside(
        *["export", "net.keras", "--base_dir=models/small", *flags, "--original_tolerance=1e-9"],
        cwd=folder,
    )
    assert refused.code == 1
    assert "differs from the original" in refused.err
    assert not (folder / "models/small/2").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "export needs a model and a folder"),
        (["net.keras"], "export needs a model and a folder"),
        (["net.keras", "more", "--base_dir=b"], "unexpected argument 'more'"),
        (["nowhere.keras", "--base_dir=b"], "`model` must be a .keras file"),
        (["text.keras", "--base_dir=b"], "`model` must be a .keras file that loads"),
        (["net.keras", "--base_dir=b", "--samples=more.json"], "--samples must be a .npy"),
        (["net.keras", "--base_dir=b", "--samples=objects.npy"], "--samples must be a .npy"),
        (["net.keras", "--base_dir=b", "--labels=a"], "`labels` must be 2 different strings"),
        (["net.keras", "--base_dir=b", "--outputs=a,b"], "`outputs` must be 1 different names"),
        (["net.keras", "--base_dir=b", "--card=list.json"], "--card must be a JSON object"),
        (["net.keras", "--base_dir=b", "--card=x.npy"], "--card must be a .json file"),
        (["net.keras", "--base_dir=b", "--tolerance=0"], "`tolerance`"),
        (["net.keras", "--base_dir=b", "--passes=-1"], "--passes"),
        (["net.keras", "--base_dir=b", "--quantization=int4"], "--quantization"),
        (["net.keras", "--base_dir=b", "--quantization=int8"], "`validation_data` must be (x, y)"),
        (["net.keras", "--base_dir=b", "--original=more.json"], "--original must be a .keras"),
        (["net.keras", "--base_dir=b", "--validation_data=x.npy"], "--validation_data must be"),
        (["net.keras", "--base_dir=x.npy"], "`base_dir` must be a directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_publishes_nothing(folder, arguments, message):
    check_refused(command_inside("export", *arguments, cwd=folder), message)
    assert not (folder / "b").exists() or list((folder / "b").iterdir()) == []
