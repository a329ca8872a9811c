"""``python -m edgefactor`` is the command line."""

import sys

from edgefactor.cli import main

if __name__ == "__main__":
    sys.exit(main())
