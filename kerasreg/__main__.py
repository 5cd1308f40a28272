"""`python -m kerasreg` is the `kerasreg` command."""

from kerasreg.cli import main

if __name__ == "__main__":
    main()
