"""Reading a person's own images in a disposable process: files -> layout or arrays -> pictures -> one data set.

limits     the bounds that all input keeps
files      a folder or zip archive as a list of files: no links, nothing outside, no bombs
layout     files -> images with classes and splits, by the names of their folders
arrays     an .npz file -> the same
pictures   one image -> uint8 of the data set's shape
assemble   order, split, statistics and hashes; the files of the finished data set
process    the process itself, started by `merging.zoo.datasets.convert`
"""
