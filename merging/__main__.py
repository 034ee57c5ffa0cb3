"""The command line `python -m merging`, which offers everything that the pages do."""

import sys

from merging.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
