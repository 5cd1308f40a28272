"""What `test_memory_of_streams.py` runs: 64 lanes of data that memory is not to hold.

Prints a JSON object: for each kind of data its bytes, and by how many bytes the memory of the
process grew at most, after another training of the same shapes. Pages of a file do not count:
the system takes them back when it needs them.
"""

import json
import os
import sys
import tempfile
import threading

import keras
import numpy as np

import kerasreg

FEATURES, BATCH = 4096, 256  # 4 MiB.
ROWS = np.random.default_rng(0).normal(size=(BATCH, FEATURES)).astype("float32")
TARGETS = ROWS[:, :1]


class Batches(keras.utils.PyDataset):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return ROWS + np.float32(index / self.count), TARGETS


def file_of(count, folder):
    path, shape = os.path.join(folder, str(count)), (count * BATCH, FEATURES)
    x = np.memmap(path, "float32", "w+", shape=shape)
    for index in range(count):
        x[index * BATCH : (index + 1) * BATCH] = ROWS
    x.flush()
    return np.memmap(path, "float32", "r", shape=shape), np.tile(TARGETS, (count, 1))


class Watch:
    """The largest memory of the process meanwhile, without what is mapped from files."""

    def __enter__(self):
        self.most, self._end = now(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self):
        while not self._end.wait(0.005):
            self.most = max(self.most, now())

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def now():
    with open("/proc/self/status") as lines:
        found = dict(line.split(":", 1) for line in lines)
    return int(found["RssAnon"].split()[0]) * 1024


def growth(kind, count, folder):
    def data(batches):
        if kind == "sequence":
            return {"x": Batches(batches)}
        x, y = file_of(batches, folder)
        return {"x": x, "y": y, "batch_size": BATCH}

    layers = [keras.Input((FEATURES,)), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    lanes = kerasreg.lanes.Lanes.from_model(model, 64, jit_compile=False)
    lanes.fit(**data(65 if kind == "file" else 17))  # Beyond what is held in memory at once.
    given = data(count)
    before = now()
    with Watch() as watch:
        lanes.fit(**given)
    return watch.most - before


if __name__ == "__main__":
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = {kind: growth(kind, count, folder) for kind in ("sequence", "file")}
    print(json.dumps({"bytes": count * ROWS.nbytes, **found}))
