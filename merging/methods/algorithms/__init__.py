"""Algorithms shared by several methods: matchings, transport plans, statistics, learning by gradients."""
