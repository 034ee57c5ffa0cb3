"""Data sets: their facts, the files of their images, and one hash that identifies the images of a job.

facts       facts of the built-in data sets
own         users' own images, stored below MERGESCOPE_HOME
known       facts of built-in data sets and own images, by name
load        load the images of a split from wherever they are
image_set   the class that `load` returns
fingerprint the hash of a job's images
convert     convert own images to a data set; `reading/` does the work in a disposable process
images      convert own images from Python, without storing them
"""
