"""The flags of `kerasreg search`."""

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


def _define_choice(name: str, default: str, choices: list[str], text: str) -> None:
    flags.DEFINE(
        _Choice(choices),
        name,
        default,
        f"<{'|'.join(choices)}>: {text}",
        flag_values=SEARCH,
        serializer=flags.ArgumentSerializer(),
    )


SEARCH = flags.FlagValues()
flags.DEFINE_string(
    "data",
    "digits",
    "Bundled data set (digits, breast_cancer, wine, diabetes) or a .csv or .parquet file.",
    flag_values=SEARCH,
)
flags.DEFINE_string("target", None, "Column to predict; for files.", flag_values=SEARCH)
_define_choice(
    "task",
    "auto",
    ["auto", "classification", "regression"],
    "auto: classification where the target is text, boolean or has at most 20 whole numbers.",
)
flags.DEFINE_list("drop", [], "Columns to leave out, separated by commas.", flag_values=SEARCH)
_define_choice(
    "tuner",
    "random",
    ["random", "bayesian", "hyperband", "grid"],
    "Search algorithm of KerasTuner.",
)
flags.DEFINE_integer(
    "trials",
    10,
    "Number of settings to try; hyperband decides by itself.",
    lower_bound=1,
    flag_values=SEARCH,
)
flags.DEFINE_integer("epochs", 20, "Epochs of a whole training.", lower_bound=1, flag_values=SEARCH)
flags.DEFINE_integer(
    "seed",
    0,
    "Seed of the split, the search and the trainings.",
    lower_bound=0,
    upper_bound=2**32 - 1,
    flag_values=SEARCH,
)
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
