"""Analysis of networks: metrics along the line between two, similarity of their layers, responses of their units."""
