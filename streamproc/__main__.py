"""``python -m streamproc``: the command line from a checkout, without an installation."""

import sys

from streamproc.cli import main

if __name__ == "__main__":
    sys.exit(main())
