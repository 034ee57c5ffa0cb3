"""`python -m merging`: everything the pages do, from the command line."""

import sys

from merging.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
