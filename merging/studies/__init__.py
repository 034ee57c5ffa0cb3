"""Studies of a finished merge: one file per study, which declares its settings, its run and its result's type."""
