"""CKA and other similarity measures of layers, and how far they can be trusted."""
