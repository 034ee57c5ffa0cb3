"""Results of runs as frozen values, and functions to save and load them. torch-free."""
