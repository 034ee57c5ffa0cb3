"""Looking at networks: metrics along the line between two, similarity of their layers, and what each unit does."""
