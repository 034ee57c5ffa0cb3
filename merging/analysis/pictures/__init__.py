"""Feature visualization: pictures that show what units respond to."""
