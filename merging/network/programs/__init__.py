"""Exported programs (.pt2) as checked values without code, and torch modules built from them."""
