"""Panels: what stands beside or below the forms of a page."""
