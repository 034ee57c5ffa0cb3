"""Benchmarks behind the README's numbers: each runs by itself, `python -m benchmarks.<name>`, and writes a table."""
