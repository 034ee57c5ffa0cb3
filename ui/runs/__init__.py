"""Parts of a run's pages: run bar, progress, states, downloads, studies, and commands that reproduce the run."""
