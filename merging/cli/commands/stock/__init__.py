"""Commands that show what is at hand: methods, shipped networks and runs, and data sets."""
