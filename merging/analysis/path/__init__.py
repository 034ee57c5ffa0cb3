"""Paths between networks: loss and accuracy along a line or over a plane, predictions, accuracy of output heads."""
