"""Limits on users' own images, the same on the page and on the command line. torch-free."""

from __future__ import annotations

MEGABYTE = 1_000_000
MAX_FILES = 200_000  # files of a folder or archive, or images of an .npz
MAX_TOTAL = 4_000 * MEGABYTE  # bytes of all files together, after unpacking
MAX_IMAGE_FILE = 100 * MEGABYTE  # bytes of one image file
MAX_RATIO = 100  # unpacked over packed size of an archive; images hardly compress, so larger ratios mean a zip bomb
FREE_RATIO = 100 * MEGABYTE  # unpacked size up to which the ratio does not matter
MAX_PIXELS = 64_000_000  # pixels of one image, by its header; enough for the largest photos of phones
MAX_DECODED = 2_000 * MEGABYTE  # bytes of all decoded images of a data set
MAX_SIDE = 4_096  # pixels of the height or width that images may be resized to
MAX_DEPTH = 10  # levels of nested folders
MAX_CLASSES = 10_000
SECONDS = 600  # processor time of the reading process
SPARE = 1_000 * MEGABYTE  # bytes of memory besides the images, for one large photo, decoded and rotated

HOW = (
    "Bring a folder or zip with one folder of images per class (train/cat/1.png, test/dog/2.jpg), or an .npz with "
    "images and labels."
)
