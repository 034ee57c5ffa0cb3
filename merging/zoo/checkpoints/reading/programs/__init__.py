"""Reading exported programs (.pt2) without running anything."""
