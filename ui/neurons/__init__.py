"""Neurons page: rows, contact sheets and single pages of units, their pictures, and the evidence view."""
