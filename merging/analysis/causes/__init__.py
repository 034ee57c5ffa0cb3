"""Causes of a merge's loss: variance collapse, contributions of layers, singular vectors, learned nonlinearities."""
