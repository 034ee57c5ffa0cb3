"""Panels that show results beside or below the forms of a page."""
