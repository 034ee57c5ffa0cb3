"""Feature visualization: pictures of what units respond to."""
