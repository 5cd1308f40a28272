"""Models that are derived from others of a hypermodel: they are what `build` would have built."""

import itertools
import math
import random
import warnings

import keras
import keras_tuner
import numpy as np
import pytest

import kerasreg
from kerasreg.lanes import DerivedModel, ModelStructure
from kerasreg.tuners import VectorizedRandomSearch
from kerasreg.tuners._traced_build import takes_path, traced

pytestmark = pytest.mark.shares_programs

layers, optimizers = keras.layers, keras.optimizers
X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 24)


def compiled(middle, optimizer, units=5, loss=None, **dense):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(units, "relu", **dense), *middle, layers.Dense(3)]
    )
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    return model


def plain(hp, **dense):
    rate = hp.Float("rate", 0.1, 0.5)
    penalty = keras.regularizers.L2(hp.Float("strength", 1e-5, 1e-2, sampling="log"))
    optimizer = optimizers.Adam(hp.Choice("learning_rate", [1e-1, 1e-2, 1e-3]))
    return compiled([layers.Dropout(rate)], optimizer, kernel_regularizer=penalty, **dense)


def computed(hp):
    """Numbers are computed, also by `math`, and one is what another one is by chance."""
    rate = hp.Float("rate", 0.1, 0.4)
    noise = layers.GaussianNoise(math.sqrt(rate) / 2 + 0.1)
    momentum = round(1.0 - hp.Float("less", 0.05, 0.3) ** 2, 3)
    optimizer = optimizers.SGD(10 ** hp.Float("exponent", -3.0, -1.0), momentum=momentum)
    normal = keras.initializers.RandomNormal(stddev=min(rate, 0.3))
    middle = [layers.Dropout(2 * rate), layers.LeakyReLU(0.1), noise]
    return compiled(middle, optimizer, kernel_initializer=normal)


def branching(hp):
    """Which model it is depends on numbers, choices and whole numbers."""
    rate = hp.Float("rate", 0.0, 0.5, step=0.1)
    optimizer = optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-1))
    middle = [layers.Dropout(rate)] if rate > 0.2 else []
    if hp.Boolean("wide"):
        with hp.conditional_scope("wide", [True]):
            middle.append(layers.Dense(hp.Int("units", 4, 6), hp.Choice("act", ["relu", "tanh"])))
    return compiled(middle, optimizer)


def of_kerasreg(hp):
    rate = hp.Float("rate", 0.1, 0.5)
    decay = kerasreg.schedules.Linear(rate, rate / 2, 10)
    middle = [kerasreg.layers.ScheduledDropout(decay)]
    penalty = kerasreg.regularizers.ElasticNet(
        hp.Float("strength", 1e-4, 1e-2), hp.Float("l1", 0.1, 0.9)
    )
    learning_rate = optimizers.schedules.ExponentialDecay(hp.Float("begin", 0.01, 0.1), 10, 0.9)
    return compiled(
        middle, optimizers.AdamW(learning_rate, weight_decay=rate / 10), kernel_regularizer=penalty
    )


def without_input(hp):
    dense = layers.Dense(
        4, "relu", kernel_regularizer=keras.regularizers.L1(hp.Float("l1", 0.0, 0.1))
    )
    model = keras.Sequential([dense, layers.Dropout(hp.Float("rate", 0.1, 0.3)), layers.Dense(3)])
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    return model


def augmenting(hp):
    """Layers that write their factors into texts of errors, which they do not raise."""
    turned = layers.RandomRotation(hp.Float("rotation", 0.0, 0.2), fill_mode="constant")
    moved = layers.RandomTranslation(hp.Float("shift", 0.0, 0.2), 0.1, fill_mode="constant")
    zoomed = layers.RandomZoom(hp.Float("zoom", 0.0, 0.2), fill_mode="constant")
    middle = [layers.Reshape((2, 2, 1)), turned, moved, zoomed, layers.Flatten()]
    return compiled(middle, optimizers.SGD(hp.Float("rate", 1e-3, 1e-1)), units=4)


class Watched(VectorizedRandomSearch):
    """Keeps what is left of each training: its trial, the numbers, and how it came about."""

    def on_training_end(self, plan):
        model, derived = plan.lane_model, isinstance(plan.lane_model, DerivedModel)
        values = model.values if derived else ()
        numbers = [float(value) for of, value in values if of.shape == () and "float" in of.dtype]
        scalars = [one.value for one in plan.structure.scalars if one.name != "seed"]
        self.seen.append((plan.trial, [*scalars, *numbers], derived))


def search(build, folder, trials=14, **options):
    built = []

    def count(hp):
        built.append(dict(hp.values))
        return build(hp)

    # Models of other widths would be built to be compared.
    options = {"pad_widths": False, **options}
    tuner = Watched(
        count, keras_tuner.Objective("loss", "min"), trials, seed=3, directory=folder, **options
    )
    tuner.seen = []
    tuner.search(X, Y, epochs=1, batch_size=8, verbose=0)
    return tuner, built


def numbers_of(build, hp):
    """The numbers of a model that is built, but seeds, of which each model has its own."""
    model = build(hp)
    if not model.built:
        model.build((None, 4))
    structure = ModelStructure(model)
    variables = {v.path: v for v in [*structure.variables, *model.optimizer.variables]}.values()
    numbers = [float(v.numpy()) for v in variables if v.shape == () and "float" in v.dtype]
    return [*(one.value for one in structure.scalars if one.name != "seed"), *numbers]


@pytest.mark.short("branching", "without_input")
@pytest.mark.parametrize(
    "build", [plain, computed, branching, of_kerasreg, without_input, augmenting]
)
def test_numbers_are_those_of_the_model_that_build_builds(build, tmp_path):
    tuner, built = search(build, tmp_path)
    derived = [one for one in tuner.seen if one[2]]
    assert len(derived) >= (2 if build is branching else 6)
    # One build finds the space before the first trial.
    assert len(built) == 1 + len(tuner.seen) - len(derived)
    for trial, numbers, _ in derived:
        assert numbers == numbers_of(build, trial.hyperparameters)


def test_initial_weights_are_drawn_for_each(tmp_path):
    first = []

    class Keeps(VectorizedRandomSearch):
        def on_training_end(self, plan):
            if isinstance(plan.lane_model, DerivedModel):
                first.append({v.path: np.array(value) for v, value in plan.lane_model.values})

    tuner = Keeps(computed, "loss", 40, seed=3, directory=tmp_path)
    tuner.search(X, Y, epochs=1, batch_size=24, verbose=0)
    kernels = [next(v for k, v in of.items() if k.endswith("dense/kernel")) for of in first]
    assert len(kernels) > 30
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)
    last = np.stack(
        [next(v for k, v in of.items() if k.endswith("dense_1/kernel")) for of in first]
    )
    assert last.std() == pytest.approx(np.sqrt(2 / (5 + 3)), rel=0.1)
    states = [v for of in first for k, v in of.items() if k.endswith("seed_generator_state")]
    assert len({tuple(state) for state in states}) == len(states) > 0


@pytest.mark.parametrize("drawn", [True, False])
def test_an_initializer_may_have_a_seed_that_was_drawn(drawn, tmp_path, recwarn):
    """As layers have it that give their variables seeds which follow from one of their own."""
    kernels = []

    def seeded(hp):
        seed = random.randint(1, 10**9) if drawn else 5
        initializer = keras.initializers.RandomUniform(-0.25, 0.25, seed=seed)
        return plain(hp, kernel_initializer=initializer)

    class Keeps(Watched):
        def on_training_end(self, plan):
            super().on_training_end(plan)
            if isinstance(plan.lane_model, DerivedModel):
                kernels.extend(
                    v for of, v in plan.lane_model.values if of.path.endswith("dense/kernel")
                )

    tuner = Keeps(seeded, "loss", 20, seed=3, directory=tmp_path)
    tuner.seen = []
    tuner.search(X, Y, epochs=1, batch_size=24, verbose=0)
    assert len(kernels) > 10
    assert len({np.asarray(kernel).tobytes() for kernel in kernels}) == (
        len(kernels) if drawn else 1
    )
    assert 0.2 < np.abs(kernels).max() <= 0.25
    assert not [one for one in recwarn if "builds the model of each" in str(one.message)]


@pytest.mark.parametrize("build", [plain, without_input])
def test_the_model_of_a_derived_trial_is_there_for_those_who_ask(build, tmp_path):
    seen = []

    class Saves(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            path = tmp_path / f"{len(seen)}.keras"
            self.model.save(path)
            seen.append((path, self.model.predict(X, verbose=0)))

    tuner = Watched(build, "loss", 4, seed=3, directory=tmp_path)
    tuner.seen = []
    tuner.search(X, Y, epochs=1, verbose=0, callbacks=[Saves()])
    assert len(seen) == 4
    for path, predicted in seen:
        kept = keras.models.load_model(path)
        np.testing.assert_allclose(kept.predict(X, verbose=0), predicted, rtol=1e-5, atol=1e-6)
    assert any(derived for _, _, derived in tuner.seen)
    for model, trial in zip(tuner.get_best_models(4), tuner.oracle.get_best_trials(4), strict=True):
        assert model.evaluate(X, Y, verbose=0) > 0
        assert model.layers[1].rate == trial.hyperparameters.get("rate")


def test_each_model_is_built_if_so_asked(tmp_path):
    tuner, built = search(plain, tmp_path, 4, derive_models=False)
    assert len(built) == 5
    assert not any(derived for _, _, derived in tuner.seen)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        search(by_chance, tmp_path / "other", 3, derive_models=False)
    # Nobody is told that what was not wanted cannot be.
    assert not [one for one in told if "The hypermodel builds" in str(one.message)]


@pytest.mark.parametrize(
    ("module", "function"), [("tensorflow", "convert_to_tensor"), ("jax.numpy", "asarray")]
)
def test_an_array_of_a_number_decides_nothing(module, function):
    make = getattr(pytest.importorskip(module), function)
    hp = keras_tuner.HyperParameters()
    with traced(hp) as trace:
        array = make(hp.Float("rate", 0.1, 0.5, default=0.2))
    assert trace.path == (("number", "rate"),)
    assert float(array) == pytest.approx(0.2)


def by_numpy(hp):
    rate = float(np.sqrt(hp.Float("rate", 0.1, 0.4)))
    return compiled([layers.Dropout(rate)], "sgd")


def by_chance(hp):
    return compiled(
        [layers.Dropout(np.random.uniform(0.1, 0.5))], optimizers.SGD(hp.Float("a", 0, 1))
    )


calls = itertools.count()


def by_turns(hp):
    """Another model for the same values."""
    return compiled([], optimizers.SGD(hp.Float("a", 0, 1)), units=4 + next(calls) % 2)


def with_weights(hp):
    model = compiled([], optimizers.SGD(hp.Float("a", 0, 1)))
    model.layers[0].kernel.assign(np.random.normal(size=(4, 5)))
    return model


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (by_numpy, "it takes the very value of `rate`"),
        (by_chance, "`rate` of a Dropout is no function of the hyperparameters"),
        (with_weights, "kernel` differs"),
        (by_turns, r"models differ .* in the same way, at model\.dense.*\.units: int . against"),
    ],
)
def test_what_is_not_explained_is_built_and_told(build, reason, tmp_path):
    with pytest.warns(UserWarning, match=f"builds the model of each trial.*{reason}"):
        tuner, built = search(build, tmp_path, 9)
    assert not any(derived for _, _, derived in tuner.seen)
    assert len(built) == 10
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}


def by_values(hp):
    """Reads the values past the methods that are made for it."""
    hp.Float("rate", 0.1, 0.5)
    hp.Boolean("deep")
    middle = [layers.Dropout(hp.values["rate"])]
    middle += [layers.Dense(4)] if hp.values.get("deep") else []
    return compiled(middle, optimizers.SGD(0.1 if "other" in hp.values else 0.2))


def test_values_that_are_read_from_the_dictionary_are_seen(tmp_path):
    tuner, _ = search(by_values, tmp_path, 12)
    derived = [one for one in tuner.seen if one[2]]
    assert len(derived) >= 4
    for trial, numbers, _ in derived:
        assert numbers == numbers_of(by_values, trial.hyperparameters)
    for trial in tuner.oracle.trials.values():
        assert type(trial.hyperparameters.values) is dict


def adagrad(hp):
    """Slots begin with a number of the optimizer's."""
    rate = hp.Float("rate", 0.1, 0.5)
    return compiled([], optimizers.Adagrad(0.1, initial_accumulator_value=rate))


def test_slots_begin_as_those_of_the_model_would(tmp_path):
    seen = []

    class Looks(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            slots = [np.array(v) for v in self.model.optimizer.variables if v.shape == (4, 5)]
            seen.append(slots[0])

    tuner = Watched(adagrad, "loss", 6, seed=3, directory=tmp_path)
    tuner.seen = []
    tuner.search(X, Y, epochs=1, verbose=0, callbacks=[Looks()])
    assert any(derived for _, _, derived in tuner.seen)
    rates = [trial.hyperparameters.get("rate") for trial in tuner.oracle.trials.values()]
    assert all(np.ptp(slots) == 0 for slots in seen)
    np.testing.assert_allclose(sorted(slots[0, 0] for slots in seen), sorted(rates), rtol=1e-6)


class OwnBuild(Watched):
    """Its models are not the hypermodel's alone."""

    def build_model(self, hp):
        model = super().build_model(hp)
        model.layers[-1].bias.assign([1.0, 2.0, 3.0])
        return model


def test_a_tuner_that_builds_by_itself_builds_each_model(tmp_path):
    tuner = OwnBuild(plain, "loss", 4, seed=3, directory=tmp_path)
    tuner.seen = []
    tuner.search(X, Y, epochs=1, verbose=0)
    assert [derived for _, _, derived in tuner.seen] == [False] * 4


def hyperparameters(**values):
    hp = keras_tuner.HyperParameters()
    for name, value in values.items():
        hp.Fixed(name, value)
    return hp


def test_a_way_is_what_was_asked_of_the_numbers():
    hp = hyperparameters(a=0.5, b=2.0, kind="x", count=3)
    with traced(hp) as trace:
        a, b = hp.get("a"), hp["b"]
        assert isinstance(a, float)
        assert hp.get("kind") == "x"
        assert a * b + 1 > 1.5
        assert int(10 * a) == 5
        assert math.floor(b / 2) == 1
        assert max(a, 0.75) != a
    values = dict(hp.values)
    assert takes_path(trace.path, values)
    assert takes_path(trace.path, {**values, "a": 0.55, "b": 2.1})
    assert takes_path(trace.path, {**values, "count": 4})  # Nobody read it.
    for change in ({"a": 0.2}, {"a": 0.65}, {"a": 0.8}, {"b": 4.0}, {"kind": "y"}, {"a": 1}):
        assert not takes_path(trace.path, {**values, **change}), change
    assert not takes_path(trace.path, {"a": 0.5})
    # Afterwards they are numbers like others.
    assert type(a * b) is float
    before = trace.path
    assert f"{a} {a > 0.1} {hash(a) == hash(0.5)} {math.sqrt(b)}".startswith("0.5 True True 1.41")
    assert trace.path == before


@pytest.mark.parametrize(
    "ask",
    [
        lambda a: f"layer_{a}",
        lambda a: str(a),
        lambda a: {0.5: "x"}.get(a),
        lambda a: a in {0.25, 0.75},
        lambda a: repr([a]),
        lambda a: a == 0.5,
        lambda a: [1, 2, 3][int(a * 4)],
        lambda a: round(a * 8),
        lambda a: a.is_integer(),
        lambda a: float(a) > 0.3,
        lambda a: divmod(a, 0.2)[0] > 2,
        lambda a: a // 0.2 > 1,
        lambda a: math.isclose(a, 0.5),
        lambda a: sorted([0.3, a]),
    ],
)
def test_what_is_asked_decides(ask):
    hp = hyperparameters(a=0.5)
    with traced(hp) as trace:
        ask(hp.get("a"))
    assert takes_path(trace.path, {"a": 0.5})
    assert not takes_path(trace.path, {"a": 0.05})


def from_zero(hp):
    """Without a rate, Keras' layers have no random numbers."""
    middle = [layers.Dropout(hp.Choice("rate", [0.0, 0.25, 0.5])), layers.GaussianNoise(0.1)]
    return compiled(middle, optimizers.SGD(hp.Float("learning_rate", 1e-3, 1e-1)))


def test_rates_of_zero_are_derived_and_share_the_program_of_others(tmp_path):
    tuner, built = search(from_zero, tmp_path)
    derived = [one for one in tuner.seen if one[2]]
    # Two ways of building, with a generator of random numbers and without.
    assert len(derived) >= 8
    assert len(built) == 1 + len(tuner.seen) - len(derived)
    for trial, numbers, _ in derived:
        assert numbers == numbers_of(from_zero, trial.hyperparameters)
    rates = {trial.hyperparameters.get("rate") for trial in tuner.oracle.trials.values()}
    assert rates == {0.0, 0.25, 0.5}
    assert [row.trials for row in tuner.lane_report().rows] == [14]


def in_functions(hp):
    """Numbers of hyperparameters in a loss, an operator and weights of losses."""
    rate = hp.Float("rate", 0.1, 0.5)

    def loss(y, p, power=1.0 + rate):
        of_classes = keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True)
        return hp_scale * of_classes**power

    hp_scale = hp.Float("scale", 0.5, 2.0)
    inputs = keras.Input((4,))
    hidden = keras.ops.multiply(layers.Dense(5, "relu")(inputs), rate) * hp_scale + rate
    model = keras.Model(inputs, layers.Dense(3)(rate * hidden))
    model.compile("sgd", loss, loss_weights=[hp.Float("weight", 0.1, 1.0)], jit_compile=False)
    return model


def test_numbers_of_functions_are_derived(tmp_path):
    tuner, _ = search(in_functions, tmp_path)
    derived = [one for one in tuner.seen if one[2]]
    assert len(derived) >= 10
    for trial, numbers, _ in derived:
        assert numbers == numbers_of(in_functions, trial.hyperparameters)
    assert [row.trials for row in tuner.lane_report().rows] == [14]
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}


@pytest.mark.parametrize("layer", [layers.RandomRotation, layers.RandomZoom])
def test_what_keras_writes_of_a_number_decides_nothing(layer):
    hp = hyperparameters(a=0.5)
    with traced(hp) as trace:
        layer(hp.get("a"))
    assert takes_path(trace.path, {"a": 0.25})
