"""A network as a value: its graph of operations, its tensors and the permutations of its units."""
