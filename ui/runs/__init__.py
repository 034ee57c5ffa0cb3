"""What belongs to one run: its bar, progress, states, downloads, and how to reproduce it."""
