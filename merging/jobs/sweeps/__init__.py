"""Sweeps: merges of newly trained networks over one or two axes, such as width or learning rate."""
