"""Studies of a finished merge: one file per study, which declares the study's settings, function and type of result."""
