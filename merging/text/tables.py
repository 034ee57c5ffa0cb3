"""Tables of results as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from merging.jobs.requests.comparison import csv_text
from merging.results.reports import LossCurve, SimilarityMap

METRICS = ("loss", "accuracy", "ece")


def curves_csv(curves: Mapping[str, Mapping[str, LossCurve]]) -> str:
    """Return CSV with one row per point and the columns path, split, lambda, loss, accuracy, ece."""
    rows = [
        (kind, split, f"{at:.6g}", *(repr(float(getattr(curve, metric)[number])) for metric in METRICS))
        for kind, splits in curves.items()
        for split, curve in splits.items()
        for number, at in enumerate(curve.lambdas)
    ]
    return _csv([("path", "split", "lambda", *METRICS), *rows])


def similarity_csv(found: SimilarityMap) -> str:
    """Return CSV with one row per layer of the first network and one column per layer of the second."""
    rows = [(name, *map(repr, row)) for name, row in zip(found.row_layers, found.values.tolist(), strict=True)]
    return _csv([(f"{found.row} \\ {found.column}", *found.column_layers), *rows])


def _csv(rows: list[tuple[str, ...]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([csv_text(cell) for cell in row] for row in rows)
    return out.getvalue()
