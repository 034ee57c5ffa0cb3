"""Complete merges, of networks in memory or of files: trace, verify, align, combine, correct."""
