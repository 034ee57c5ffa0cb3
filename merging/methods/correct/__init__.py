"""Corrections: one file a method, found by merging.methods.registry."""
