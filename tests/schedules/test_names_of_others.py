"""The page that maps other libraries' names has only names that there are."""

import pathlib
import re

import keras

from kerasreg import callbacks, optimizers, schedules

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "explanations" / "schedules.md"


def test_every_class_on_the_right_side_exists():
    known = {name for room in (callbacks, optimizers, schedules) for name in room.__all__}
    known |= set(dir(keras.optimizers.schedules)) | {"MultiOptimizer"}
    rows = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    for row in rows:
        for code in re.findall(r"`([^`]*)`", row[1]):
            names = re.findall(r"\b[A-Z][a-z]\w+\b", code)
            assert set(names) - {"True", "False"} <= known, code


def test_every_schedule_is_found_there_or_in_the_guide():
    text = PAGE.read_text() + (PAGE.parents[1] / "guides" / "schedules.md").read_text()
    for name in schedules.__all__:
        if name not in ("Clipped", "Hyperparameter", "InEpochs", "Product", "Scaled", "Schedule"):
            assert re.search(rf"\b{name}\b", text) or name in ("Shifted", "Sum"), name
