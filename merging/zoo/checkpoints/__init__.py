"""Checkpoints: files that people bring, read in a process that may die of them, checked, and matched to a network."""
