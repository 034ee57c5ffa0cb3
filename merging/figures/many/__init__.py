"""Figures of several merges: comparisons of methods, runs over each other, sweeps."""
