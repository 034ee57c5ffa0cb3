"""The command line: one file a command, and what they share.

    options   arguments that several commands take
    console   text, tables and JSON to stdout, progress to stderr
    nets      a network by its file or its id
    images    the images to measure on
    files     results to files

Exit codes: 0 done; 1 it failed; 2 it was asked wrongly; 130 it was interrupted. Errors and notes are one line on
stderr; what a network of one's own prints goes there, too, so that stdout has results only.
"""

from merging.cli.main import main

__all__ = ["main"]
