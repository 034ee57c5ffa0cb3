"""Corrections: one file per method, found by merging.methods.registry."""
