"""Networks as graphs of operations: export from torch, named layers, and running a graph node by node."""
