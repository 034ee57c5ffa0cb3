"""One file a study: what is asked of a finished merge, and the result as a value."""
