"""A merge as a folder: a README, the figures, the numbers by part, the commands, and the papers of its methods."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields

from merging.figures.curve import curve_figure, curves_of
from merging.figures.figure import Figure
from merging.figures.paper import WIDTHS, Format, figure_file
from merging.figures.similarity import TITLES, diagonal_figure, heatmap
from merging.results import saving
from merging.results.reports import MergeReport, Metric
from merging.text.bibliography import bibtex
from merging.text.tables import curves_csv, similarity_csv
from merging.text.verdicts import merge

METRICS: tuple[Metric, ...] = ("loss", "accuracy", "ece")
PARTS = ("curves", "similarity", "units")  # parts of the report with a file of their own
HELD = {  # beginning of the files' paths -> line of the README
    "curves": "- `curves.csv`, `curves.json`: loss (nats per image), accuracy, calibration error along the path",
    "similarity": "- `similarity-*.csv`, `similarity.json`: debiased linear CKA of every pair of layers",
    "units": "- `units.json`: the units of every layer with their partners",
    "report": "- `report.json`: the request, the scores and everything else",
    "figures": f"- `figures/`: SVG and PDF, {WIDTHS['one column']} inches wide",
    "methods": "- `methods.bib`: the papers of the methods",
}
PRINTED: tuple[Format, ...] = ("svg", "pdf")


def run_folder(title: str, report: MergeReport, commands: Mapping[str, str]) -> dict[str, bytes]:
    """Return path in the folder -> contents of the file.

    title: title of the run.  commands: heading -> command or code that repeats the run; both are for the README.
    """
    files = {f"{name}.json": saving.to_json(getattr(report, name)).encode() for name in PARTS if getattr(report, name)}
    rest = {field.name: getattr(report, field.name) for field in fields(report) if field.name not in PARTS}
    files["report.json"] = saving.to_json(rest).encode()
    if report.curves:
        files["curves.csv"] = curves_csv(report.curves).encode()
    files |= {f"similarity-{key}.csv": similarity_csv(map).encode() for key, map in report.similarity.items()}
    papers = bibtex(report.request)
    files |= {"methods.bib": papers.encode()} if papers else {}
    for name, figure in _figures(report):
        files |= {f"figures/{name}.{kind}": figure_file(figure, kind, WIDTHS["one column"]) for kind in PRINTED}
    return {"README.md": _readme(title, report, commands, files).encode(), **files}


def zipped(files: Mapping[str, bytes], folder: str) -> bytes:
    """Return the files as a zip archive with one folder. Equal files give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(f"{folder}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def _figures(report: MergeReport) -> Iterator[tuple[str, Figure]]:
    for split in ("test", "train"):
        if curves_of(report, split):
            yield from ((f"{metric}-{split}", curve_figure(report, metric, split)) for metric in METRICS)
    yield from ((f"cka-{key}", heatmap(map, TITLES[key])) for key, map in report.similarity.items())
    if report.similarity:
        yield "cka-layers", diagonal_figure(report.similarity)


def _readme(title: str, report: MergeReport, commands: Mapping[str, str], files: Collection[str]) -> str:
    """README that lists what is in the folder. files: paths of the other files."""
    held = "\n".join(line for start, line in HELD.items() if any(name.startswith(start) for name in files))
    blocks = "\n\n".join(f"## {heading}\n\n```\n{text}\n```" for heading, text in commands.items())
    shown = title.replace("`", "'")  # in a code span, names of others are no links or pictures
    return f"""# A merge by Mergescope

`{shown}`

{merge.headline(report)}

{merge.verdict(report)}

{held}

{blocks}
"""
