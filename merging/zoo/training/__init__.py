"""Training of the built-in architectures: recipes, augmentation, subsets, and the checkpoints that are shipped."""
