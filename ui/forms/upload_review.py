"""What was made of an uploaded file: a network with its accuracy, a question with its candidates, or a refusal."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import streamlit as st

from merging.errors import AmbiguousCheckpoint, InvalidRequest, MergescopeError
from merging.jobs.requests.checks import check_fit
from merging.zoo.architectures.names import PROGRAM, UNSEEN
from merging.zoo.catalogue import Entry, uploaded
from merging.zoo.checkpoints.candidates import Candidate, evidence_words, shared_normalisation
from merging.zoo.checkpoints.sandbox import Converted, convert
from merging.zoo.datasets.known import find_facts
from ui.runs.progress import Waiting
from ui.shell.markdown import plain
from ui.shell.state import entries, ledger, owner

SHOWN = 12  # candidates of one file
EXPORT = """torch.export.save(torch.export.export(model.eval(), (x,),
    dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), "a.pt2")  # x: an example of at least two images"""
PARTS = ".safetensors.index.json"
UNKNOWN = (
    "It is not known which images this network was trained on, so its merges have no curves and no similarity. Choose "
    "its data set and check again to have them."
)
TOKENS = (
    "This network takes tokens, and the data sets here are images: its merges are proved, but have no curves. In "
    "Python `merging.merge(nets, data=(tokens, labels))` and `merging.interpolate` measure them."
)
UNMEASURED = "Its images are not on this machine, so what it is worth was not measured."


@dataclass(frozen=True)
class Said:
    """What a person says of the files; None and "" are for what is left open. dataset: "" for none of the known."""

    name: str = ""
    dataset: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] = ()
    architecture: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    private: bool = True

    def about(
        self, dataset: str, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, classes: tuple[str, ...]
    ) -> Said:
        """The same with what is said of the images."""
        return replace(self, dataset=dataset, mean=mean, std=std, classes=classes)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `convert`."""
        kept = ("name", "dataset", "mean", "std", "config")
        return {**{key: getattr(self, key) for key in kept}, "architecture": self.architecture or None}


@dataclass(frozen=True, eq=False)
class Finding:
    """stem: the file's name. data: its bytes. One of the others is set."""

    stem: str
    data: bytes
    converted: Converted | None = None
    question: AmbiguousCheckpoint | None = None
    refusal: str = ""


def bundles(files: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """The files as networks: safetensors files that came with their index are one, packed together."""
    indexes = [name for name in files if name.endswith(PARTS)]
    if not indexes:
        return list(files.items())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(PurePath(name).name, data)
    return [(indexes[0].removesuffix(PARTS), packed.getvalue())]


def check(name: str, data: bytes, said: Said, waiting: Waiting) -> Finding:
    """What the reading process makes of a file; its errors become the finding's refusal. waiting: as of `convert`."""
    stem = PurePath(name).stem
    try:
        converted = convert(data, measure=True, programs=_programs(), waiting=waiting, **said.options)
        _check_said(converted, said)
        return Finding(stem, data, converted)
    except AmbiguousCheckpoint as question:
        return Finding(stem, data, question=question)
    except MergescopeError as error:
        return Finding(stem, data, refusal=str(error))


def fed_alike(findings: Sequence[Finding], said: Said, waiting: Waiting) -> list[Finding]:
    """Networks of one kind that go in together under the normalisation that suits all of them: one merge has one."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.converted is not None and finding.converted.facts["measured"]:
            told = [finding.converted.facts[key] for key in ("architecture", "config", "dataset")]
            kinds.setdefault(json.dumps(told, sort_keys=True), []).append(finding)
    better: dict[int, Finding] = {}
    for alike in kinds.values():
        facts = [finding.converted.facts for finding in alike if finding.converted is not None]
        best = shared_normalisation([told["measured"] for told in facts])
        if best is not None and len({(*told["mean"], *told["std"]) for told in facts}) > 1:
            better |= {id(one): _normalised(one, best, said, waiting) for one in alike}
    return [better.get(id(finding), finding) for finding in findings]


def _normalised(finding: Finding, words: str, said: Said, waiting: Waiting) -> Finding:
    """The network under one of the normalisations that it was measured with, which is shown first then."""
    if finding.converted is None:
        return finding
    measured = sorted(finding.converted.facts["measured"], key=lambda one: one["normalisation"] != words)
    options = {**said.options, "mean": measured[0]["mean"], "std": measured[0]["std"]}
    facts = finding.converted.facts
    chosen = {"architecture": facts["architecture"], "config": facts["config"], "weights": facts["weights"]}
    anew = convert(finding.data, programs=_programs(), waiting=waiting, **{**options, **chosen})
    why = f"{facts['why']}; {words} suit the networks of this upload best together"
    return replace(finding, converted=replace(anew, facts={**anew.facts, "measured": measured, "why": why}))


def show(findings: Sequence[Finding]) -> list[Candidate | None]:
    """Draw all findings; for each the candidate that was picked, None where nothing is asked or answered.

    Networks of one kind are asked about once: what is said of one holds for all.
    """
    alike: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        asked = None if finding.question is None else sorted(map(_kind, finding.question.candidates))
        alike.setdefault(f"{number if asked is None else asked}", []).append(number)
    picked: list[Candidate | None] = [None] * len(findings)
    for numbers in alike.values():
        group = [findings[number] for number in numbers]
        with st.container(border=True):
            st.markdown(f"**{plain(', '.join(finding.stem for finding in group))}**")
            pick = _show(numbers[0], group)
        for number in numbers:
            picked[number] = pick
    return picked


def _kind(candidate: Candidate) -> str:
    """What a candidate is, without what images say of it."""
    told = (candidate.architecture, candidate.config, candidate.weights, dict(candidate.open))
    return json.dumps(told, sort_keys=True, default=list)


def _show(number: int, group: Sequence[Finding]) -> Candidate | None:
    (finding, *_), questions = group, [one.question for one in group if one.question is not None]
    if questions:
        return _ask(number, [one.stem for one in group], questions)
    if finding.refusal:
        st.error(plain(finding.refusal), icon=":material/error:")
        st.caption("A network of any architecture can be brought as an exported program, which this line writes:")
        st.code(EXPORT, language="python")
    elif finding.converted is not None:
        _tell(finding.converted.facts)
    return None


def settle(finding: Finding, pick: Candidate | None, said: Said, waiting: Waiting) -> Finding:
    """The finding as the network that was picked, where it is a question.

    Raises CheckpointError, UnknownArchitecture or InvalidRequest in words.
    """
    if pick is None:
        return finding
    chosen = {"architecture": pick.architecture, "config": pick.config, "weights": pick.weights}
    options = {**said.options, **chosen}
    converted = convert(finding.data, measure=True, programs=_programs(), waiting=waiting, **options)
    _check_said(converted, said)
    facts = {**converted.facts, "why": "chosen by its owner among the networks that fit its tensors"}
    return replace(finding, converted=replace(converted, facts=facts), question=None)


def keep(finding: Finding, said: Said) -> Entry:
    """Keep a network. Raises InvalidRequest where it is none, or beyond the caps of its owner."""
    converted = finding.converted
    if converted is None:
        raise InvalidRequest(f"{finding.stem} is no network that can be added.")
    facts = {**converted.facts, "name": converted.facts["name"] or finding.stem}
    entry = uploaded(facts, converted.data, owner=owner(), created=time.time())
    entry = replace(entry, classes=said.classes or entry.classes, private=said.private)
    return ledger().add_model(entry, converted.data, owner())


def _programs() -> list[Path]:
    """The files of the exported programs that the visitor can pick, one of each structure."""
    known = {e.config["program"]: e for e in entries().values() if e.architecture == PROGRAM}
    store = ledger().store
    return [store.path(entry.sha256) for entry in known.values() if store.has(entry.sha256)]


def _tell(facts: Mapping[str, Any]) -> None:
    """What the network is, why, and what it is worth under each normalisation."""
    st.markdown(f"{plain(facts['label'])} · {facts['parameters']:,} parameters  \n:gray[{plain(facts['why'])}]")
    if facts["aside"]:
        st.caption(f"The file also holds {plain(', '.join(facts['aside'][:8]))}, which is left aside.")
    measured: Sequence[Mapping[str, Any]] = facts["measured"]
    if measured:
        _accuracy(measured)
    elif "tokens" in facts["config"]:
        st.info(TOKENS, icon=":material/text_fields:")
    elif find_facts(facts["dataset"]) is None:
        st.warning(UNKNOWN, icon=":material/image_not_supported:")
    else:
        st.caption(UNMEASURED)


def _accuracy(measured: Sequence[Mapping[str, Any]]) -> None:
    words = evidence_words(measured)
    if measured[0]["above_chance"]:
        st.success(words, icon=":material/check:")
    else:
        st.error(
            f"{words}. Is it another data set, another normalisation, or another network?", icon=":material/warning:"
        )


def _ask(number: int, stems: Sequence[str], questions: Sequence[AmbiguousCheckpoint]) -> Candidate | None:
    """The candidates as a list, the best for all of the networks first; none is chosen beforehand."""
    measured: dict[str, list[Candidate]] = {_kind(candidate): [] for candidate in questions[0].candidates}
    for question in questions:
        for candidate in question.candidates:
            measured[_kind(candidate)].append(candidate)
    ranked = sorted(measured.values(), key=lambda same: -sum(one.accuracy or 0.0 for one in same))[:SHOWN]
    reasons = {question.why for question in questions}
    told = [f"for {stem} {question.why}" for stem, question in zip(stems, questions, strict=True)]
    why = reasons.pop() if len(reasons) == 1 else "; ".join(told)
    st.info(
        f"A state dict does not say how its layers are wired: {len(measured)} networks fit these tensors, "
        f"and {plain(why)}. Which is it?",
        icon=":material/help:",
    )
    if not any(candidate.measured for same in ranked for candidate in same):
        st.caption("With its data set chosen on the left, each is measured on test images.")
    firsts = [same[0] for same in ranked]
    labels = [f"{candidate.label}{f', {candidate.weights}' if candidate.weights else ''}" for candidate in firsts]
    picked = st.radio(
        "Network",
        range(len(ranked)),
        format_func=lambda index: plain(labels[index]),
        captions=[_evidence(stems, same) for same in ranked],
        index=None,
        key=f"upload pick {number}",
        label_visibility="collapsed",
    )
    return None if picked is None else _settled(number, firsts[picked])


def _evidence(stems: Sequence[str], same: Sequence[Candidate]) -> str:
    """What images say of one candidate, of each network where there are several."""
    told = [(stem, evidence_words(one.measured)) for stem, one in zip(stems, same, strict=True) if one.measured]
    return "; ".join(words if len(stems) == 1 else f"{plain(stem)}: {words}" for stem, words in told)


def _settled(number: int, candidate: Candidate) -> Candidate | None:
    """The candidate with an answer to each setting that its tensors do not show; None while one is open."""
    answers: dict[str, str | None] = {}
    named = UNSEEN.get(candidate.architecture, {})
    for setting, choices in candidate.open.items():
        answers[setting] = st.selectbox(
            setting.replace("_", " ").capitalize(),
            list(choices),
            index=None,
            format_func=named[setting].__getitem__,
            placeholder="to be said",
            key=f"upload {setting} {number}",
        )
    return None if None in answers.values() else replace(candidate, config={**candidate.config, **answers}, open={})


def _check_said(converted: Converted, said: Said) -> None:
    facts = converted.facts
    check_fit(facts["dataset"], facts["architecture"], {"in_shape": facts["config"].get("in_shape", ())})
    outputs = facts["config"].get("classes")
    if said.classes and outputs and len(said.classes) != outputs:
        raise InvalidRequest(f"The network has {outputs} outputs, but {len(said.classes)} classes are named.")
