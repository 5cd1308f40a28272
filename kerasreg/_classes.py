"""Which numbers of a target are classes, where nobody says so."""

from __future__ import annotations

import numpy as np

# More distinct whole numbers than this are taken for a quantity, not for classes.
MOST_CLASSES_OF_NUMBERS = 20


def are_classes(numbers: np.ndarray) -> bool:
    """Whether numbers are few distinct whole ones, and so classes and no quantity."""
    distinct = np.unique(np.asarray(numbers, "float64"))
    whole = bool((distinct == np.round(distinct)).all())
    return whole and len(distinct) <= MOST_CLASSES_OF_NUMBERS
