"""The flags of the commands."""

from __future__ import annotations

import difflib

from absl import flags


class _Choice(flags.EnumParser):
    """One of some names; suggests the nearest."""

    def parse(self, argument: str) -> str:
        try:
            return super().parse(argument)
        except ValueError as error:
            near = difflib.get_close_matches(argument, self.enum_values, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{error}{hint}") from error


def _define_choice(
    name: str, default: str, choices: list[str], text: str, of: flags.FlagValues
) -> None:
    flags.DEFINE(
        _Choice(choices),
        name,
        default,
        f"<{'|'.join(choices)}>: {text}",
        flag_values=of,
        serializer=flags.ArgumentSerializer(),
    )


def _define_data(of: flags.FlagValues) -> None:
    """Where a table is, and how it is read."""
    flags.DEFINE_string(
        "data",
        "digits",
        "Bundled data set (digits, breast_cancer, wine, diabetes) or a .csv or .parquet file.",
        flag_values=of,
    )
    flags.DEFINE_string("target", None, "Column to predict; for files.", flag_values=of)
    _define_choice(
        "task",
        "auto",
        ["auto", "classification", "regression"],
        "auto: classification where the target is text, boolean or has at most 20 whole numbers.",
        of,
    )
    flags.DEFINE_list("drop", [], "Columns to leave out, separated by commas.", flag_values=of)


def _define_seed(of: flags.FlagValues) -> None:
    flags.DEFINE_integer(
        "seed",
        0,
        "Seed of the split, the search and the trainings."
        if of is SEARCH
        else "Seed of the split, the initial weights and the order of the batches.",
        lower_bound=0,
        upper_bound=2**32 - 1,
        flag_values=of,
    )


SEARCH = flags.FlagValues()
_define_data(SEARCH)
_define_choice(
    "tuner",
    "random",
    ["random", "bayesian", "hyperband", "grid"],
    "Search algorithm of KerasTuner.",
    SEARCH,
)
flags.DEFINE_integer(
    "trials",
    10,
    "Number of settings to try; hyperband decides by itself.",
    lower_bound=1,
    flag_values=SEARCH,
)
flags.DEFINE_integer("epochs", 20, "Epochs of a whole training.", lower_bound=1, flag_values=SEARCH)
_define_seed(SEARCH)
flags.DEFINE_integer(
    "replicas",
    1,
    "Train each trial on this many GPUs, or logical CPU devices where there are none.",
    lower_bound=1,
    flag_values=SEARCH,
)
flags.DEFINE_string(
    "output_dir", "kerasreg_search", "Folder for all that is written.", flag_values=SEARCH
)
flags.DEFINE_boolean("resume", False, "Continue the search in --output_dir.", flag_values=SEARCH)

LR_FIND = flags.FlagValues()
_define_data(LR_FIND)
flags.DEFINE_string(
    "model",
    None,
    "A compiled Keras model in a .keras file that takes the features; a dense network without.",
    flag_values=LR_FIND,
)
_define_choice(
    "optimizer",
    "adam",
    ["sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw"],
    "Optimizer of the dense network.",
    LR_FIND,
)
flags.DEFINE_integer(
    "depth", 2, "Hidden layers of the dense network.", lower_bound=1, flag_values=LR_FIND
)
flags.DEFINE_integer(
    "width", 64, "Units of each of its hidden layers.", lower_bound=1, flag_values=LR_FIND
)
flags.DEFINE_integer("batch_size", 32, "Samples of a step.", lower_bound=1, flag_values=LR_FIND)
_define_seed(LR_FIND)
flags.DEFINE_float("low", 1e-7, "First learning rate, above 0.", flag_values=LR_FIND)
flags.DEFINE_float("high", 10.0, "Last learning rate, above --low.", flag_values=LR_FIND)
flags.DEFINE_integer(
    "steps", 100, "Learning rates, one for each step.", lower_bound=5, flag_values=LR_FIND
)
flags.DEFINE_string("plot", None, "Write a picture, a .png or .svg file.", flag_values=LR_FIND)

SERVE = flags.FlagValues()
flags.DEFINE_string("name", None, "Name of the model; else the folder's.", flag_values=SERVE)
flags.DEFINE_string(
    "host",
    "127.0.0.1",
    "IP address to listen on; the default is this machine alone.",
    flag_values=SERVE,
)
flags.DEFINE_integer(
    "port",
    8501,
    "Port; 0 takes any that is free.",
    lower_bound=0,
    upper_bound=65535,
    flag_values=SERVE,
)
flags.DEFINE_integer(
    "max_body", 16 * 2**20, "Largest request, in bytes.", lower_bound=1, flag_values=SERVE
)
flags.DEFINE_integer(
    "max_batch", 4096, "Most examples in a request.", lower_bound=1, flag_values=SERVE
)
flags.DEFINE_float(
    "look_every",
    1.0,
    "Seconds between looks for a newer version.",
    lower_bound=0.01,
    flag_values=SERVE,
)

EXPORT = flags.FlagValues()
flags.DEFINE_string(
    "base_dir", None, "Folder of the versions; made when missing.", flag_values=EXPORT
)
flags.DEFINE_string(
    "samples",
    None,
    "A .npy file of inputs, or an .npz file with an array for each input: to compare with Keras, "
    "and for warm-up requests. Without it the comparison is of random numbers.",
    flag_values=EXPORT,
)
flags.DEFINE_list(
    "labels", [], "Names of the classes, separated by commas: adds `classify`.", flag_values=EXPORT
)
flags.DEFINE_list("outputs", [], "Names of the outputs, separated by commas.", flag_values=EXPORT)
flags.DEFINE_integer(
    "mc_passes",
    0,
    "Passes with dropout on of the signature `predict_mc`; 0 leaves it out.",
    lower_bound=0,
    flag_values=EXPORT,
)
flags.DEFINE_string("card", None, "A .json file with more for the model card.", flag_values=EXPORT)
flags.DEFINE_enum(
    "quantization",
    None,
    ["float16", "int8"],
    "Stores the weights in fewer bits; they are widened where they are used.",
    flag_values=EXPORT,
)
flags.DEFINE_string(
    "original",
    None,
    "The .keras file before it was made smaller, to compare with.",
    flag_values=EXPORT,
)
flags.DEFINE_string(
    "validation_data",
    None,
    "A .npz file with inputs, as `x` or by their names, and targets, as `y`, of the comparison of "
    "--quantization and --original.",
    flag_values=EXPORT,
)
flags.DEFINE_float(
    "original_tolerance",
    None,
    "The largest relative difference from the original with which it is published.",
    flag_values=EXPORT,
)
flags.DEFINE_float(
    "tolerance",
    1e-6,
    "Largest relative difference from Keras with which a version is published.",
    lower_bound=0.0,
    flag_values=EXPORT,
)
