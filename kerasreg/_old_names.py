"""Arguments that were called otherwise before 0.1.0, as saved files still call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_new_names(config: Mapping[str, Any], new_names: Mapping[str, str]) -> dict[str, Any]:
    """A config with the names that the arguments have now.

    Args:
        config: what `get_config` returned, of this version or of an earlier one.
        new_names: the old name of each argument that was renamed, and the new one.

    Returns:
        A dict with each old name replaced; a config of this version as it is.

    Example:

    >>> with_new_names({"initial": 1.0, "every": 2}, {"initial": "start"})
    {'start': 1.0, 'every': 2}
    """
    return {new_names.get(name, name): value for name, value in config.items()}
