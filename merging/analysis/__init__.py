"""Analysis of networks: metrics on the line between two networks, similarity of layers, responses of units."""
