"""A whole merge, from networks or from files: trace, verify, align, combine, correct."""
