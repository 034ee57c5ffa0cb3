"""Figures of studies: one file per study."""
