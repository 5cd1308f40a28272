"""A model of raw rows, exported, loaded by a server in another process, and asked by name."""

import http.client
import json
import re
import signal
import time

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from helpers.commands import started

from kerasreg import serving
from kerasreg.tables import Table

ROWS = 60


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "capital-gain": np.where(rng.random(ROWS) < 0.2, np.nan, rng.normal(size=ROWS)),
            "petal length (cm)": 1.7e9 + rng.integers(0, 1000, ROWS),
            "job": rng.choice(["cook", "clerk", "Müller", ""], ROWS),
            "paid": rng.random(ROWS) < 0.5,
            "born": [f"{1950 + k}-0{1 + k % 9}-12" if k % 5 else None for k in range(ROWS)],
            "income": rng.choice(["low", "high"], ROWS),
        }
    )
    return Table(frame, target="income"), frame


@pytest.fixture(scope="module")
def exported(table, tmp_path_factory):
    table, frame = table
    inputs = table.inputs()
    outputs = keras.layers.Dense(2, "softmax")(table.encode(inputs, width=3, bins=4, seed=1))
    network = keras.Model(inputs, outputs)
    folder = tmp_path_factory.mktemp("base") / "income"
    model = table.model(network)
    path = serving.export(model, folder, labels=table.labels, samples=table.raw(frame))
    return network.predict(table.arrays(frame), verbose=0), folder, path


def as_a_client_has_it(row):
    """A row in JSON: without a value there are NaN and empty text."""
    found = {name: value for name, value in row.items() if name != "income"}
    texts = {name: found[name] if isinstance(found[name], str) else "" for name in ("job", "born")}
    return {**found, **texts}


def test_the_server_answers_rows_as_a_client_has_them(table, exported):
    table, frame = table
    expected, folder, _ = exported
    rows = [as_a_client_has_it(row) for row in frame.to_dict("records")]
    never_seen = {**rows[0], "job": "astronaut", "born": "soon"}
    process = started("serve", str(folder), "--port=0")
    try:
        said = [process.stdout.readline(), process.stdout.readline()]
        address = re.search(r"http://([^/:]+):(\d+)(/\S+):predict", said[0])

        def ask(**body):
            while True:
                client = http.client.HTTPConnection(address[1], int(address[2]), timeout=60)
                try:
                    client.request("POST", f"{address[3]}:predict", json.dumps(body))
                    break
                except ConnectionRefusedError:  # It says where before it listens there.
                    assert process.poll() is None
                    time.sleep(0.05)
            answer = client.getresponse()
            return answer.status, json.loads(answer.read())

        status, found = ask(instances=rows)
        labels = ask(instances=rows[:3], signature_name="classify")[1]["predictions"]
        unknown = ask(instances=[never_seen, {**rows[0], "job": "", "born": ""}])
        less = ask(instances=[{name: rows[0][name] for name in rows[0] if name != "job"}])
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert status == 200, found
    np.testing.assert_allclose(found["predictions"], expected, atol=1e-5)
    assert [row["label"] for row in labels] == [table.labels[k] for k in expected[:3].argmax(1)]
    assert unknown[0] == 200
    assert np.isfinite(unknown[1]["predictions"]).all()
    assert less[0] == 400
    assert "job" in less[1]["error"]


def test_examples_of_raw_rows_are_answered(table, exported):
    _, frame = table
    expected, _, path = exported

    def feature(name, value):
        if name in ("job", "born"):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if name == "paid":
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    messages = []
    for row in frame.to_dict("records"):
        given = as_a_client_has_it(row)
        features = {name: feature(name, value) for name, value in given.items()}
        message = tf.train.Example(features=tf.train.Features(feature=features))
        messages.append(message.SerializeToString())
    served = tf.saved_model.load(path).signatures["serve_examples"]
    (found,) = served(examples=tf.constant(messages)).values()
    assert found.shape == expected.shape
    # An example has numbers in single precision, in which seconds of this size are the same.
    assert np.isfinite(found.numpy()).all()
