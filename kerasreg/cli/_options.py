"""Options of a command: the fields of a dataclass, from which its flags and its help are made.

An option is declared once. Its type is the annotation of the field; its default, its limits and
the text of its help are given by `option`. Nothing here imports NumPy, Keras or TensorFlow: a
command answers `--help` and refuses a mistyped flag at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import textwrap
import types
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

BUNDLED = ("digits", "breast_cancer", "wine", "diabetes")
TASKS = ("auto", "classification", "regression")


def option(
    default: Any,
    text: str,
    *,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A field of a dataclass of options.

    Args:
        default: the value without the flag.
        text: the help.
        choices: the strings that are accepted; None for any.
        minimum: the smallest number that is accepted, if there is one.
        maximum: the largest number that is accepted, if there is one.
    """
    metadata = {"text": text, "choices": choices, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def sep_option() -> Any:
    """The option `sep` of a command that reads tables."""
    return option(
        ",", "What separates the columns of a .csv file: one character, or tab. Often ; in Europe."
    )


def decimal_option() -> Any:
    """The option `decimal` of a command that reads tables."""
    return option(".", "What separates the decimals of numbers in a .csv file.", choices=[".", ","])


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """Where a table is, and how it is read."""

    data: str = option(
        "digits", f"Bundled data set ({', '.join(BUNDLED)}) or a .csv or .parquet file."
    )
    target: str | None = option(None, "Column to predict; for files.")
    task: str = option(
        "auto",
        "auto: classification where the target is text, boolean or has at most 20 whole numbers.",
        choices=TASKS,
    )
    drop: tuple[str, ...] = option((), "Columns to leave out, separated by commas.")
    columns: str | None = option(
        None,
        "A .json file that says how columns are read, by name: number, boolean, category, date or "
        "dropped. A table without it says how each column was read.",
    )
    sep: str = sep_option()
    decimal: str = decimal_option()


def kinds(options: type) -> dict[str, tuple[type, bool]]:
    """For each field, the type of its value, `tuple` for several strings, and if it may be None."""
    found = {}
    for name, hint in typing.get_type_hints(options).items():
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        (kind,) = (part for part in parts if part is not type(None))
        found[name] = (typing.get_origin(kind) or kind, len(parts) > 1)
    return found


class _Choice(flags.EnumParser):
    """One of some names; suggests the nearest."""

    def parse(self, argument: str) -> str:
        try:
            return super().parse(argument)
        except ValueError as error:
            near = difflib.get_close_matches(argument, self.enum_values, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{error}{hint}") from error


def flags_of(options: type) -> flags.FlagValues:
    """The flags for a dataclass of options, in the order of its fields."""
    made, kind_of = flags.FlagValues(), kinds(options)
    for field in dataclasses.fields(options):
        _define(made, field, kind_of[field.name][0])
    return made


def _define(made: flags.FlagValues, field: dataclasses.Field[Any], kind: type) -> None:
    name, text = field.name, field.metadata["text"]
    default: Any = field.default
    limits = {
        "lower_bound": field.metadata["minimum"],
        "upper_bound": field.metadata["maximum"],
    }
    if choices := field.metadata["choices"]:
        parser, serializer = _Choice(list(choices)), flags.ArgumentSerializer()
        text = f"<{'|'.join(choices)}>: {text}"
        flags.DEFINE(parser, name, default, text, flag_values=made, serializer=serializer)
    elif kind is tuple:
        flags.DEFINE_list(name, list(default), text, flag_values=made)
    elif kind is bool:
        flags.DEFINE_boolean(name, default, text, flag_values=made)
    elif kind is int:
        flags.DEFINE_integer(name, default, text, flag_values=made, **limits)
    elif kind is float:
        flags.DEFINE_float(name, default, text, flag_values=made, **limits)
    else:
        flags.DEFINE_string(name, default, text, flag_values=made)


def _underscored(argument: str) -> str:
    """A flag with the name that it has, also where it is written `--output-dir`."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def parse(options: type, command: str, arguments: Sequence[str]) -> tuple[Any, set[str], list[str]]:
    """Reads the arguments of a command.

    Args:
        options: the dataclass of its options.
        command: its name.
        arguments: what follows the name.

    Returns:
        The options, the names of those that were given, and the arguments that are no flags.

    Raises:
        absl.flags.Error: if a flag is unknown or its value is not accepted.
    """
    made = flags_of(options)
    rest = made([f"kerasreg {command}", *map(_underscored, arguments)])[1:]
    names = [field.name for field in dataclasses.fields(options)]
    values = {name: made[name].value for name in names}
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return options(**values), {name for name in names if made[name].present}, rest


def help_of(options: type) -> list[str]:
    """For each option a line with its flag and its default, and its help."""
    lines, made = [], flags_of(options)
    for field in dataclasses.fields(options):
        flag = made[field.name]
        default = flag.default_as_str.strip("'") if flag.default not in (None, []) else "none"
        lines.append(f"  --{field.name} (default: {default})")
        lines.extend(
            textwrap.wrap(flag.help, 84, initial_indent=" " * 6, subsequent_indent=" " * 6)
        )
    return lines
