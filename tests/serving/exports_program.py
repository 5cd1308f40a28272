"""What `test_serving_export.py` runs: exports at the same time, and exports that are killed.

Usage: python exports_program.py together PROCESSES EXPORTS BASE_DIR
       python exports_program.py steps FOLDER
       python exports_program.py moments SEED KILLS BASE_DIR

`together` exports from several processes into one base directory, while another
process loads what is published there again and again; `steps` kills
an export before each of its steps, each in a base directory of its own;
`moments` kills exports at random moments. TensorFlow is imported before the
processes are forked, and used only in them. The last line is a JSON object.
"""

import json
import os
import random
import sys
import time

from helpers.processes import exit_code, forked, killed_after, killed_at_each_call


def export(number, base_dir):
    """Exports a model that adds a number to its input."""
    import keras

    from kerasreg import serving

    model = keras.Sequential([keras.Input((1,)), keras.layers.Rescaling(1.0, offset=number)])
    return serving.export(model, base_dir, tolerance=None)


def added_by(path):
    """What a published model adds; loads it, which needs all of its files, and reads its card."""
    import tensorflow as tf

    with open(os.path.join(path, "assets.extra", "model_card.json")) as file:
        assert json.load(file)["parameters"] == 0
    signature = tf.saved_model.load(path).signatures["serving_default"]
    ((name, _),) = signature.structured_input_signature[1].items()
    (values,) = signature(**{name: tf.zeros((1, 1))}).values()
    return int(values.numpy()[0, 0])


def read_until(done, base_dir, report):
    """Loads the newest version and any other, until a file says that it is enough."""
    from kerasreg import serving

    draw, added, loads = random.Random(0), {}, 0
    while True:
        last = os.path.exists(done)
        found = serving.list_versions(base_dir)
        for version in [found[-1], draw.choice(found)] if found else []:
            number = added_by(os.path.join(base_dir, str(version)))
            # What was published stays what it was.
            assert added.setdefault(version, number) == number
            loads += 1
        if last:
            break
    with open(report, "w") as file:
        json.dump({"loads": loads, "versions": len(added)}, file)


def together(processes, exports, base_dir):
    done, report = f"{base_dir}.done", f"{base_dir}.report"
    reader = forked(lambda: read_until(done, base_dir, report))

    def several(first):
        for number in range(first, first + int(exports)):
            path = export(number, base_dir)
            with open(f"{base_dir}.{number}", "w") as file:
                file.write(path)

    running = [
        forked(lambda first=index * int(exports): several(first)) for index in range(int(processes))
    ]
    assert [exit_code(process) for process in running] == [0] * int(processes)
    with open(done, "w"):
        pass
    assert exit_code(reader) == 0
    with open(report) as file:
        read = json.load(file)
    paths = {}
    for number in range(int(processes) * int(exports)):
        with open(f"{base_dir}.{number}") as file:
            paths[number] = file.read()
    return {"paths": paths, "read": read}


def steps(folder):
    def after(number):
        base_dir = os.path.join(folder, str(number))
        left = sorted(os.listdir(base_dir))
        code = exit_code(forked(lambda: export(6, base_dir)))
        return {"base_dir": base_dir, "left": left, "exit_code": code}

    # Each sync and each rename is a step.
    names = ("fsync", "rename")
    killed = killed_at_each_call(names, lambda n: export(5, os.path.join(folder, str(n))), after)
    return {"killed": killed}


def moments(seed, kills, base_dir):
    begun = time.monotonic()
    assert exit_code(forked(lambda: export(0, base_dir))) == 0
    length = time.monotonic() - begun
    draw = random.Random(int(seed))
    codes = []
    for number in range(1, int(kills) + 1):

        def endless(number=number):
            while True:
                export(number, base_dir)

        codes.append(killed_after(draw.uniform(0.3, 2.0) * length, endless))
    return {"codes": codes}


def main(what, *arguments):
    import kerasreg.serving  # noqa: F401

    print(json.dumps({"together": together, "steps": steps, "moments": moments}[what](*arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
