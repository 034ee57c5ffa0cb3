"""Checkpoints: read foreign files in a separate process that may crash, check them, match them to a known network."""
