"""Read exported programs (.pt2) without running any of their code."""
