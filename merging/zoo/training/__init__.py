"""Training of the built-in architectures: recipes, augmentation, subsets, and the shipped checkpoints."""
