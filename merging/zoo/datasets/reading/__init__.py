"""Conversion of a user's own images to a data set, in a process that may crash without harm.

The steps are: files -> layout or arrays -> pictures -> assemble.

limits     limits on the size and number of the input files
files      list the files of a folder or zip archive; refuse links, outside paths and zip bombs
layout     files -> images with classes and splits, from the names of their folders
arrays     an .npz file -> images with classes and splits
pictures   one image file -> a uint8 array of the data set's shape
gathered   the images with classes and splits that layout and arrays return
assemble   order, split, statistics and hashes; write the files of the finished data set
process    the main function of the process, which `merging.zoo.datasets.convert` starts
"""
