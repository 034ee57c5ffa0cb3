"""Activations: values per image and per unit, and the receptive field of a unit."""
