"""Graphs of operations, and programs: graphs that can be written to a file and read without running anything."""
