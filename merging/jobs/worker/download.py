"""`python -m merging.jobs.worker.download NAME`: download a data set; a failure writes one line to stderr."""

from __future__ import annotations

import sys

from merging.errors import MergescopeError
from merging.zoo.datasets.load import download


def main(names: list[str]) -> int:
    """Download the data sets with these names. Returns 0, or 1 after a failure, whose reason is written to stderr."""
    try:
        for name in names:
            download(name)
    except MergescopeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
