"""Panels of single studies, one per file: each declares itself and is drawn on its study's page."""
