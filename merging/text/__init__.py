"""Texts for users: formatted numbers, verdicts on results, and notes of the methods as sentences. torch-free."""
