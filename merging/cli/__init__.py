"""The command line: one file per command in commands/, and the code that the commands share.

    main            parsing, running, exit codes
    options         arguments that several commands take
    console         text, tables and JSON to stdout, progress to stderr
    nets            networks, read by file name or id
    images          images for measurements
    files           results written to files
    paths           alignment of B to A
    merge_streamed  `merge` of large files
    merge_own       `merge` for networks that a user's own factory builds

Exit codes: 0 success; 1 the work failed; 2 wrong arguments; 130 interrupted. Errors and notes are one line each on
stderr. Text that a user's own network prints goes to stderr too, so that stdout holds only results.
"""
