"""Causes of a merge's loss: variance collapse, shares of the layers, singular vectors, learned nonlinearities."""
