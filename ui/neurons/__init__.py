"""Neurons: rows, sheets and pages of units, their pictures and evidence."""
