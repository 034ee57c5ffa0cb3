"""Data sets: what is known of each, the files that hold its images, and one hash that names the images of a job."""
