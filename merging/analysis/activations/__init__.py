"""Reading activations: per image, per unit, and which part of an image a unit sees."""
