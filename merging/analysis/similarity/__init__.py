"""CKA and other similarity measures of layers, and tests of their reliability."""
