"""Networks and images: architectures, checkpoints, data sets, training, and the catalogue of shipped checkpoints."""
