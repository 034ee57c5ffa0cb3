"""Merge methods: their tables, one file per method in align/, combine/ and correct/, and the algorithms they share."""
