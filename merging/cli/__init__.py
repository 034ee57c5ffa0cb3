"""The command line: one file per command in commands/, and the code that they share.

    main            parsing, running, exit codes
    options         arguments that several commands take
    console         text, tables and JSON to stdout, progress to stderr
    nets            a network by its file or its id
    images          the images to measure on
    files           results to files
    paths           B re-ordered to A
    merge_streamed  `merge` of large files
    merge_own       `merge` for networks of your own factory

Exit codes: 0 done; 1 failure of the work; 2 wrong arguments; 130 interrupted. Errors and notes are one line on
stderr. What a user's own network prints goes to stderr too, so that stdout has results only.
"""
