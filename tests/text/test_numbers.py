import math

import pytest

from merging.text import numbers


@pytest.mark.parametrize(
    "written, wanted",
    [
        (numbers.accuracy(0.88431), "88.4 %"),
        (numbers.accuracy(None), "–"),
        (numbers.loss(0.3124), ".312"),
        (numbers.loss(1.204), "1.20"),
        (numbers.loss(12.34), "12.3"),
        (numbers.loss(-0.0123), "−.012"),
        (numbers.loss(-0.0001), ".000"),
        (numbers.loss(0.99999), "1.00"),
        (numbers.correlation(0.828), ".83"),
        (numbers.correlation(-0.04), "−.04"),
        (numbers.correlation(1.0), "1.00"),
        (numbers.correlation(math.nan), "–"),
        (numbers.tiny(2.6e-7), "3e−7"),
        (numbers.tiny(0.0), "0"),
        (numbers.tiny(0.5), "0.5"),
        (numbers.count(932_362), "932 k"),
        (numbers.count(2000), "2,000"),
        (numbers.size(3_730_912), "3.7 MB"),
        (numbers.size(64e9), "64 GB"),
        (numbers.duration(0.4), "under 1 s"),
        (numbers.duration(6.2), "6 s"),
        (numbers.duration(59.7), "1 min"),
        (numbers.duration(75), "1 min 15 s"),
        (numbers.duration(7500), "2 h 5 min"),
        (numbers.ago(1000.0, now=1030.0), "just now"),
        (numbers.ago(1000.0, now=1330.0), "5 min ago"),
        (numbers.ordinal(2), "2nd"),
        (numbers.ordinal(11), "11th"),
        (numbers.ordinal(23), "23rd"),
        (numbers.signed_difference("loss", 0.046), ".046"),
        (numbers.signed_difference("accuracy", 0.481), "48.1 pp"),
    ],
)
def test_numbers_are_written_as_people_read_them(written, wanted):
    assert written == wanted
