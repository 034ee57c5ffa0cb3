"""What two pages share: the run bar, pickers, forms, progress, words. A page itself is in pages/."""
