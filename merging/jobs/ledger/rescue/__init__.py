"""Rescue of a damaged ledger: its header, its list of tables, its rows, and values in them."""
