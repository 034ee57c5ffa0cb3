"""Numbers, verdicts and method notes in plain words. torch-free."""
