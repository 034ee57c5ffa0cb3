"""Downloads of a run: checkpoints, permutation, figures, numbers, and the code that reproduces it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import streamlit as st

from merging.figures.curve import WORDS, curve_figure, curves_of
from merging.figures.palette import page
from merging.figures.run_folder import run_folder, zipped
from merging.figures.similarity import TITLES, diagonal_figure, heatmap
from merging.jobs.ledger.jobs import Job
from merging.jobs.requests.merge import MergeRequest
from merging.results import saving
from merging.results.reports import MergeReport, Metric
from merging.text import numbers
from merging.text.bibliography import bibtex
from merging.text.reproduce import command, snippet
from merging.text.tables import curves_csv
from merging.zoo.checkpoints.metadata import with_name
from ui.runs.progress import failure
from ui.shell.chosen import PREFIX, request_of
from ui.shell.guard import show_errors
from ui.shell.screens import go
from ui.shell.state import ledger, not_hidden, submit

FILES = {
    "merge.safetensors": "Merged checkpoint",
    "merge.pt2": "Merged network, exported program",
    "aligned.safetensors": "π(B): B with its units matched to A's",
    "aligned.pt2": "π(B), exported program",
    "naive.safetensors": "Naive average",
    "permutation.npz": "Permutation",
}
LOOKED_INTO = ("merge.safetensors", "naive.safetensors")  # networks that pictures need; pi(B)'s pictures are those of B


def downloads(job: Job, report: MergeReport) -> None:
    """Show the contents of the run bar's "Downloads" menu."""
    run = job.id[:PREFIX]
    sizes = ledger().artifacts(job.id)
    if not not_hidden([job]):
        sizes = {}
        st.caption("The networks of this run are private to the person who uploaded them.")
    available = [name for name in FILES if name in sizes and _kept(job, name)]
    for name in available:
        label = f"{FILES[name]} ({numbers.size(sizes[name][1])})"
        _button(label, partial(_artifact, job, name), f"{run}-{name}", "application/octet-stream")
    missing = [FILES[name] for name in FILES if name in sizes and name not in available]
    if missing:
        make_here(job, lacking=", ".join(missing))
    request, own = request_of(job), replace(report, request=job.request)
    commands = {"In Python": snippet(request), "On the command line": command(request)}
    _button(
        "Everything but the networks (zip)",
        lambda: zipped(run_folder(job.title, own, commands), f"mergescope-{run}"),
        f"mergescope-{run}.zip",
        "application/zip",
    )
    _button("Numbers (JSON)", lambda: saving.to_json(own), f"{run}.json", "application/json")
    if report.curves:
        _button("Curves (CSV)", lambda: curves_csv(report.curves), f"{run}-curves.csv", "text/csv")
        _button("Curves (HTML)", lambda: curves_page(report, job.title), f"{run}-curves.html", "text/html")
    if report.similarity:
        _button("Similarity (HTML)", lambda: similarity_page(report, job.title), f"{run}-similarity.html", "text/html")
    papers = bibtex(job.request)
    if papers:
        _button("Papers of the methods (BibTeX)", lambda: papers, f"{run}.bib", "text/plain")
    st.caption("The same merge in Python")
    st.code(commands["In Python"], language="python")
    st.caption("The same merge on the command line")
    st.code(commands["On the command line"], language="bash")


def curves_page(report: MergeReport, title: str) -> str:
    """HTML page with the curves of every metric on test and train images. It needs no internet connection."""
    metrics: tuple[Metric, ...] = ("loss", "accuracy", "ece")
    splits = [split for split in ("test", "train") if curves_of(report, split)]
    figures = [
        (curve_figure(report, metric, split), f"{title}: {WORDS[metric]}, {split} images")
        for split in splits
        for metric in metrics
    ]
    return page(figures)


def similarity_page(report: MergeReport, title: str) -> str:
    """HTML page with the similarity maps and their diagonals."""
    figures = [(heatmap(map, TITLES[key]), f"{title}: {TITLES[key]}") for key, map in report.similarity.items()]
    return page([*figures, (diagonal_figure(report.similarity), f"{title}: corresponding layers")])


def _button(label: str, make: Callable[[], str | bytes], name: str, mime: str) -> None:
    st.download_button(
        label, make, name, mime, key=f"download {name}", on_click="ignore", icon=":material/download:", width="stretch"
    )


def _artifact(job: Job, name: str) -> bytes:
    """The file, with the visitor's names of the networks in it; the stored ones may be somebody else's."""
    data, request = ledger().artifact(job.id, name) or b"", request_of(job)
    if name.endswith(".safetensors") and not job.example and isinstance(request, MergeRequest):
        return with_name(data, request.name_of(name))
    return data


def lacks_networks(job: Job) -> bool:
    """Whether the job is an example that is shipped without a network that pictures or studies need."""
    sizes = ledger().artifacts(job.id)
    return not all(_kept(job, name) for name in LOOKED_INTO if name in sizes)


def make_here(job: Job, key: str = "run here", lacking: str = "") -> None:
    """Name the files that an example is shipped without, with a button that makes them. lacking: their labels."""
    what = lacking or "some of its networks"
    st.caption(f"This example is shipped without {what}. Run it on this machine to make them.")
    own = ledger().local_run(job.id)
    if own is not None and own.state == "failed":
        failure(own)
    if st.button("Run it here", key=key, icon=":material/play_arrow:"):
        with show_errors():
            submit(request_of(job), again=True)
            go("merge", run=job.id[:PREFIX])


def _kept(job: Job, name: str) -> bool:
    return not job.example or ledger().shipped.has(job.id, name)
