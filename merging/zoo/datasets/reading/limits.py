"""The bounds that a person's own images keep, on the page as on the command line. torch-free."""

from __future__ import annotations

MEGABYTE = 1_000_000
MAX_FILES = 200_000  # of a folder or archive, and images of an .npz
MAX_TOTAL = 4_000 * MEGABYTE  # bytes of all files together, unpacked
MAX_IMAGE_FILE = 100 * MEGABYTE  # bytes of one image's file
MAX_RATIO = 100  # times that an archive may unpack to, above FREE_RATIO: images hardly shrink
FREE_RATIO = 100 * MEGABYTE
MAX_PIXELS = 64_000_000  # of one image, as its file says: a telephone's largest photo
MAX_DECODED = 2_000 * MEGABYTE  # bytes of all images as the data set holds them
MAX_SIDE = 4_096  # pixels that images may be brought to
MAX_DEPTH = 10  # folders within folders
MAX_CLASSES = 10_000
SECONDS = 600  # of the reading process
SPARE = 1_000 * MEGABYTE  # memory of the reading process beside the images: one large photo, decoded and turned

HOW = (
    "Bring a folder or zip with one folder of images per class (train/cat/1.png, test/dog/2.jpg), or an .npz with "
    "images and labels."
)
