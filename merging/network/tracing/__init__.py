"""Which units may change places: the tracer's proof by numbers."""
