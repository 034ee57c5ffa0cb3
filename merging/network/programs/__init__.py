"""Exported programs (.pt2) as validated data without code, and torch modules built from them."""
