"""Exported programs (.pt2) as checked values without code, and modules made from them."""
