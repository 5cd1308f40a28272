"""Makes a virtual environment, after checking that this Python will do.

Usage: python tools/make_venv.py FOLDER
"""

import sys
import venv

OLDEST, NEWEST = (3, 11), (3, 13)


def main(folder: str) -> None:
    """Makes the environment, or ends with one line that says what to do."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        sys.exit(
            f"kerasreg needs Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}; this is "
            f"{sys.version.split()[0]}. Name another one: make PYTHON=python3.12 ..."
        )
    venv.create(folder, with_pip=True, clear=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
