"""`python -m merging.jobs.worker.download NAME`: fetch a data set; a reason in one line on stderr where it fails."""

from __future__ import annotations

import sys

from merging.errors import MergescopeError
from merging.zoo.datasets.load import download


def main(names: list[str]) -> int:
    """Fetch the data sets of these names; 0, or 1 with the reason on stderr."""
    try:
        for name in names:
            download(name)
    except MergescopeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
