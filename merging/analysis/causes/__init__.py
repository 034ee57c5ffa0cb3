"""Where a merge's loss comes from."""
