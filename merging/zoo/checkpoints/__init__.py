"""Checkpoints: read untrusted files in a separate process that may crash, check them, match them to known networks."""
