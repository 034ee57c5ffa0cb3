"""The straight line between networks: loss and accuracy along it, planes, predictions."""
