"""Networks as values: the graph of operations, the tensors, and the permutations of the units."""
