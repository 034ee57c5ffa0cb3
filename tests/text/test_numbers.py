import math

import numpy as np
import pytest

from merging.results.intervals import Z95, bootstrap, wilson
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
        (numbers.count(999_499), "999 k"),
        (numbers.count(999_500), "1 M"),
        (numbers.count(999_500_000), "1 G"),
        (numbers.count(12_345_000_000_000), "12,345 G"),
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


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [
        (8, 10, 0.490, 0.943),
        (0, 10, 0.0, 0.278),
        (10, 10, 0.722, 1.0),
        (81, 263, 0.255, 0.366),
        (15, 148, 0.062, 0.160),
    ],
)
def test_wilson_intervals_are_the_published_ones(hits, count, low, high):
    """Newcombe, Statistics in Medicine 17 (1998), Table I, method 3, and the textbook cases 0, 8 and 10 of 10."""
    assert wilson(hits / count, count) == pytest.approx((low, high), abs=6e-4)


def test_the_bootstrap_of_many_normal_values_is_the_textbook_s_interval_and_passes_over_nan():
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000)
    mean, low, high = bootstrap(np.append(values, np.nan), 0)
    half = Z95 * values.std() / math.sqrt(len(values))
    assert mean == pytest.approx(values.mean()) and (low, high) == pytest.approx(
        (mean - half, mean + half), abs=half / 8
    )
    assert bootstrap(values, 0) == (mean, low, high)
    assert np.isnan(bootstrap(np.array([np.nan]), 0)).all()


def test_an_interval_is_written_in_percent():
    assert numbers.interval(0.919, 10_000) == "91.3 to 92.4 %"


def test_a_date_is_the_reader_s():
    assert numbers.date(1764446400.0, "UTC") == "29 Nov 2025, 20:00"
    assert numbers.date(1764446400.0, "Asia/Tokyo") == "30 Nov 2025, 05:00"
    assert numbers.date(1764446400.0, "no/place") == numbers.date(1764446400.0)
    assert numbers.date(None) == numbers.UNKNOWN


@pytest.mark.parametrize("damaged", [1e300, -1e300, 1e12, -5.0, math.inf, -math.inf, math.nan])
def test_a_time_that_no_calendar_has_is_unknown(damaged):
    assert numbers.date(damaged, "UTC") == numbers.ago(damaged) == numbers.UNKNOWN
    assert numbers.duration(math.inf) == numbers.UNKNOWN
