"""Lessons on linear mode connectivity, and classes that take them together. torch-free."""
