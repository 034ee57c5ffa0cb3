"""The nets and the images: architectures, checkpoints, data sets, training, and the catalogue of what is shipped."""
