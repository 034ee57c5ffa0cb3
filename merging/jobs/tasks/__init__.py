"""Tasks that a worker computes, one file per kind of job."""
