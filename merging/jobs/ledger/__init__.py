"""Ledger: jobs, models and images in one SQLite file, and the files that belong to them. torch-free."""
