"""`python -m kerasreg.testing module:name`: do two replicas train as one device does?"""

import sys

from kerasreg.testing._replicas import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
