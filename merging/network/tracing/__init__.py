"""Tracing of permutation groups: which units may change places, and a numerical proof of it."""
