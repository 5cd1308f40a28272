"""What the search spaces declare: names, conditions, and refused arguments."""

import keras_tuner
import pytest

from kerasreg import spaces

PENALTIES = ("none", "l1", "l2", "elastic_net")
DROPOUTS = ("none", "constant", "ramp_up", "ramp_down")
OPTIMIZERS = ("sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw")
POLICIES = ("fixed", "step", "exponential", "time_based", "cosine", "plateau")

# Each function with the choice it declares, the kinds of it, and, for each
# conditional name that is documented, the kinds with which it is active.
CONDITIONAL = {
    "penalty": (
        spaces.penalty,
        PENALTIES,
        {
            "penalty_strength": {"l1", "l2", "elastic_net"},
            "penalty_alpha": {"elastic_net"},
        },
    ),
    "dropout": (
        lambda hp, **kwargs: spaces.dropout(hp, steps=10, **kwargs),
        DROPOUTS,
        {"dropout_rate": {"constant", "ramp_up", "ramp_down"}},
    ),
    "optimizer": (
        spaces.optimizer,
        OPTIMIZERS,
        {
            "sgd_learning_rate": {"sgd", "nesterov"},
            "adaptive_learning_rate": {"rmsprop", "adam", "adamw"},
            "adagrad_learning_rate": {"adagrad"},
            "adadelta_learning_rate": {"adadelta"},
            "momentum": {"nesterov"},
            "weight_decay": {"adamw"},
        },
    ),
    "learning_rate_policy": (
        lambda hp, **kwargs: spaces.learning_rate_policy(hp, 0.1, 10, **kwargs),
        POLICIES,
        {"warmup_epochs": set(POLICIES) - {"plateau"}},
    ),
}

EACH_KIND = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, (_, kinds, _) in CONDITIONAL.items()
    for kind in kinds
]


def chosen(name, kind):
    """Hyperparameters as an oracle passes them to a trial: the choice is made."""
    hp = keras_tuner.HyperParameters()
    hp.values[name] = kind
    return hp


def kinds_of(one):
    """With which values of its only parent a hyperparameter is active."""
    (condition,) = one.conditions
    return condition.name, set(condition.values)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_choice_is_unconditional_and_offers_all_documented_kinds(name):
    declare, kinds, _ = CONDITIONAL[name]
    hp = keras_tuner.HyperParameters()
    declare(hp)
    (choice,) = [one for one in hp.space if one.name == name]
    assert choice.conditions == []
    assert set(choice.values) == set(kinds)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_space_carries_the_documented_conditions(name):
    declare, _, conditional = CONDITIONAL[name]
    hp = keras_tuner.HyperParameters()
    declare(hp)
    by_name = {one.name: one for one in hp.space}
    for conditional_name, kinds in conditional.items():
        assert kinds_of(by_name[conditional_name]) == (name, kinds)


@pytest.mark.parametrize(("name", "kind"), EACH_KIND)
def test_exactly_the_active_hyperparameters_have_values(name, kind):
    declare, _, conditional = CONDITIONAL[name]
    hp = chosen(name, kind)
    declare(hp)
    assert hp.get(name) == kind
    for conditional_name, kinds in conditional.items():
        assert (conditional_name in hp.values) == (kind in kinds)
    # Nothing else is left over: values are those that KerasTuner holds active.
    assert set(hp.values) == {one.name for one in hp.space if hp.is_active(one)}


@pytest.mark.parametrize(("name", "kind"), EACH_KIND)
def test_the_whole_space_is_declared_whatever_kind_is_chosen(name, kind):
    declare, kinds, conditional = CONDITIONAL[name]
    spaces_found = []
    for one_kind in (kind, kinds[0]):
        hp = chosen(name, one_kind)
        declare(hp)
        spaces_found.append([one.get_config() for one in hp.space])
    assert spaces_found[0] == spaces_found[1]
    assert {name, *conditional} <= {config["name"] for config in spaces_found[0]}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_kind_that_is_left_out_takes_its_hyperparameters_with_it(name):
    declare, kinds, conditional = CONDITIONAL[name]
    for left_out in kinds:
        rest = tuple(kind for kind in kinds if kind != left_out)
        hp = keras_tuner.HyperParameters()
        declare(hp, choices=rest)
        declared = {one.name for one in hp.space}
        for conditional_name, active in conditional.items():
            assert (conditional_name in declared) == bool(active - {left_out})


def test_each_decaying_policy_has_one_number_of_its_own():
    hp = keras_tuner.HyperParameters()
    spaces.learning_rate_policy(hp, 0.1, 10)
    own = [kinds_of(one)[1] for one in hp.space if one.conditions and one.name != "warmup_epochs"]
    assert sorted(own, key=min) == [{"exponential"}, {"plateau"}, {"step"}, {"time_based"}]


@pytest.mark.parametrize(
    ("declare", "names"),
    [
        (lambda hp: spaces.penalty(hp, name="kernel"), {"kernel", "kernel_strength"}),
        (lambda hp: spaces.dropout(hp, 10, name="last"), {"last", "last_rate"}),
        (lambda hp: spaces.activation(hp, name="inner"), {"inner"}),
        (lambda hp: spaces.initializer(hp, "relu", name="start"), {"start"}),
        (lambda hp: spaces.batch_size(hp, name="size"), {"size"}),
        (lambda hp: spaces.optimizer(hp, name="rule"), {"rule"}),
        (lambda hp: spaces.learning_rate_policy(hp, 0.1, 10, name="policy"), {"policy"}),
    ],
    ids=["penalty", "dropout", "activation", "initializer", "batch_size", "optimizer", "policy"],
)
def test_the_name_argument_names_what_is_declared(declare, names):
    hp = keras_tuner.HyperParameters()
    declare(hp)
    assert names <= {one.name for one in hp.space}


def test_penalties_of_two_names_are_searched_independently():
    hp = keras_tuner.HyperParameters()
    hp.values = {"a": "l1", "a_strength": 1e-3, "b": "l2", "b_strength": 1e-5}
    first, second = spaces.penalty(hp, name="a"), spaces.penalty(hp, name="b")
    assert float(first.strength) == pytest.approx(1e-3)
    assert float(second.strength) == pytest.approx(1e-5)


def test_a_name_scope_of_kerastuner_is_respected():
    hp = keras_tuner.HyperParameters()
    with hp.name_scope("block"):
        spaces.penalty(hp, choices=("l2",))
    assert set(hp.values) == {"block/penalty", "block/penalty_strength"}


@pytest.mark.parametrize(
    ("declare", "near"),
    [
        (lambda hp: spaces.penalty(hp, choices=("l2", "elasticnet")), "elastic_net"),
        (lambda hp: spaces.dropout(hp, 10, choices=("none", "rampup")), "ramp_up"),
        (lambda hp: spaces.optimizer(hp, choices=("sgd", "nesterof")), "nesterov"),
        (lambda hp: spaces.learning_rate_policy(hp, 0.1, 9, choices=("fixed", "cosin")), "cosine"),
        (lambda hp: spaces.initializer(hp, "relu", choices=("he_norml",)), "he_normal"),
        (lambda hp: spaces.initializer(hp, "relu", choices=("orthogonal", "hee")), None),
    ],
    ids=["penalty", "dropout", "optimizer", "policy", "initializer", "unchosen-initializer"],
)
def test_an_unknown_kind_is_refused_with_the_nearest_one(declare, near):
    hint = "Received" if near is None else f"did you mean '{near}'"
    with pytest.raises(ValueError, match=hint):
        declare(keras_tuner.HyperParameters())


@pytest.mark.parametrize(
    ("declare", "argument"),
    [
        (lambda hp: spaces.penalty(hp, minimum=0.0), "minimum"),
        (lambda hp: spaces.penalty(hp, minimum=-1e-3), "minimum"),
        (lambda hp: spaces.penalty(hp, maximum=0.0), "max"),
        (lambda hp: spaces.penalty(hp, minimum=1e-2, maximum=1e-3), "max"),
        (lambda hp: spaces.dropout(hp, 0), "steps"),
        (lambda hp: spaces.dropout(hp, 2.5), "steps"),
        (lambda hp: spaces.dropout(hp, 10, maximum=0.05), "maximum"),
        (lambda hp: spaces.dropout(hp, 10, maximum=1.5), "maximum"),
        (lambda hp: spaces.learning_rate_policy(hp, 0.1, 0), "epochs"),
        (lambda hp: spaces.learning_rate_policy(hp, -0.1, 10), "learning_rate"),
        (lambda hp: spaces.learning_rate_policy(hp, 0.0, 10), "learning_rate"),
        (lambda hp: spaces.batch_size(hp, values=(32, 0)), "values"),
        (lambda hp: spaces.batch_size(hp, values=(32, 64.5)), "values"),
    ],
)
def test_an_argument_outside_its_range_is_refused_by_name(declare, argument):
    with pytest.raises(ValueError, match=argument):
        declare(keras_tuner.HyperParameters())
