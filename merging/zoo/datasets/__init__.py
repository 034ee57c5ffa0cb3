"""Data sets: what is known of each, the files that hold its images, and one hash that names the images of a job.

facts       the built-in ones;  own: people's own images, kept below MERGESCOPE_HOME;  known: both, by name
load        the images of a split, wherever they are;  image_set: what it gives
convert     own images to a data set, read by `reading/` in a disposable process;  images: the same from Python
"""
