"""Tracing of permutation groups: which units may be permuted, and a numerical proof of the result."""
