"""What the README's figures come from: each file runs by itself, `python -m benchmarks.<name>`, and writes a table."""
