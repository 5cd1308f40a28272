"""`kerasreg export`: a saved model becomes the next version, or nothing is published."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

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


def test_a_model_is_exported_with_all_that_was_asked_for(command, folder):
    flags = ["--samples=x.npz", "--labels=no,yes", "--outputs=score", "--mc_passes=4"]
    arguments = ["export", "net.keras", "--base_dir=models/net", "--card=more.json", *flags]
    done = command(*arguments, cwd=folder)
    assert done.code == 0, done.err
    assert done.err == ""
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
    # And the next one is the next version.
    assert "exported models/net/2\n" in command(*arguments, cwd=folder).out


def test_a_quantized_model_is_compared_with_the_original(command, folder):
    flags = ["--quantization=int8", "--validation_data=held_out.npz", "--original=net.keras"]
    done = command("export", "net.keras", "--base_dir=models/small", *flags, cwd=folder)
    assert done.code == 0, done.err
    found = dict(line.rsplit(": ", 1) for line in done.out.splitlines() if ": " in line)
    assert found["against the original, samples"] == "9"
    assert 0 < float(found["against the original, relative difference"]) < 0.05
    card = json.loads((folder / "models/small/1/assets.extra/model_card.json").read_text())
    assert card["quantization"]["to"] == "int8"
    assert card["against_original"]["samples"] == 9
    refused = command(
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
        (["net.keras", "--base_dir=b", "--mc_passes=-1"], "--mc_passes"),
        (["net.keras", "--base_dir=b", "--quantization=int4"], "--quantization"),
        (["net.keras", "--base_dir=b", "--quantization=int8"], "`validation_data` must be (x, y)"),
        (["net.keras", "--base_dir=b", "--original=more.json"], "--original must be a .keras"),
        (["net.keras", "--base_dir=b", "--validation_data=x.npy"], "--validation_data must be"),
        (["net.keras", "--base_dir=x.npy"], "`base_dir` must be a directory"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2_and_publishes_nothing(
    command_inside, folder, refused, arguments, message
):
    refused(command_inside("export", *arguments, cwd=folder), message)
    assert not (folder / "b").exists() or list((folder / "b").iterdir()) == []


def test_so_it_is_in_a_process_of_its_own(command, folder, refused):
    done = command("export", "text.keras", "--base_dir=c", cwd=folder)
    refused(done, "`model` must be a .keras file that loads")
    assert not (folder / "c").exists()
