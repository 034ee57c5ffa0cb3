"""Review of uploaded files: each is a network with its accuracy, a question with its candidates, or a refusal."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

import streamlit as st

from merging.errors import AmbiguousCheckpoint, InvalidRequest, MergescopeError
from merging.jobs.requests.checks import check_fit
from merging.paths import without_folders
from merging.zoo.architectures.names import PROGRAM, UNSEEN
from merging.zoo.catalogue import Entry, uploaded
from merging.zoo.checkpoints.candidates import Candidate, evidence_words, shared_normalisation
from merging.zoo.checkpoints.sandbox import Converted, convert
from merging.zoo.datasets.known import find_facts, may_use
from merging.zoo.datasets.own import is_own
from ui.runs.progress import Waiting
from ui.shell.markdown import plain
from ui.shell.state import entries, ledger, network_address, owner

SHOWN = 12  # candidates of one file
EXPORT = """torch.export.save(torch.export.export(model.eval(), (x,),
    dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)), "a.pt2")  # x: a batch of at least two images"""
UNKNOWN = (
    "It is not known which images this network was trained on, so its merges have no curves and no similarity. To get "
    "them, choose the network's data set and check again."
)
TOKENS = (
    "This network takes tokens, but the data sets here contain images. Its merges are verified, but have no curves. In "
    "Python, `merging.merge(nets, data=(tokens, labels))` and `merging.interpolate` measure such merges."
)
UNMEASURED = "The images of its data set are not on this machine, so its accuracy was not measured."


@dataclass(frozen=True)
class Said:
    """What the visitor stated about the files; None means that nothing was stated.

    name, architecture: "" if not stated.  dataset: "" for one that is not known here.  mean, std: one number per
    channel, for images in 0..1.  classes: in the order of the outputs.  config: settings of the architecture.
    private: whether others may not use the network.
    """

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
        """Return a copy with the statements about the images."""
        return replace(self, dataset=dataset, mean=mean, std=std, classes=classes)

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `convert`."""
        names = ("name", "dataset", "mean", "std", "config")
        return {**{name: getattr(self, name) for name in names}, "architecture": self.architecture or None}


@dataclass(frozen=True, eq=False)
class Finding:
    """Result of reading one file: exactly one of the last three fields is set.

    stem: name of the file without its suffix.  data: its bytes.  converted: the network.  question: candidates among
    which the visitor has to choose.  refusal: why the file is refused.
    """

    stem: str
    data: bytes
    converted: Converted | None = None
    question: AmbiguousCheckpoint | None = None
    refusal: str = ""


def check(name: str, data: bytes, said: Said, waiting: Waiting) -> Finding:
    """Read and measure a file in a separate process; an error becomes a refusal. waiting: as for `convert`."""
    stem = PurePath(name).stem
    try:
        converted = _converted(data, measure=True, programs=_programs(), waiting=waiting, **said.options)
        _check_said(converted, said)
        return Finding(stem, data, converted)
    except AmbiguousCheckpoint as question:
        return Finding(stem, data, question=question)
    except MergescopeError as error:
        return Finding(stem, data, refusal=without_folders(str(error)))


def _converted(data: bytes, **options: Any) -> Converted:
    """Convert a file for the visitor. Images of others that the file names are unknown to them, as deleted ones are."""
    converted = convert(data, person=owner(), **options)
    dataset = converted.facts["dataset"]
    if not is_own(dataset) or may_use(dataset, owner()):
        return converted
    return replace(converted, facts={**converted.facts, "dataset": ""})


def fed_alike(findings: Sequence[Finding], said: Said, waiting: Waiting) -> list[Finding]:
    """Give uploaded networks of one kind the normalisation that suits all of them best; a merge can have only one."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.converted is not None and finding.converted.facts["measured"]:
            kind = [finding.converted.facts[key] for key in ("architecture", "config", "dataset")]
            kinds.setdefault(json.dumps(kind, sort_keys=True), []).append(finding)
    better: dict[int, Finding] = {}
    for group in kinds.values():
        facts = [finding.converted.facts for finding in group if finding.converted is not None]
        best = shared_normalisation([each["measured"] for each in facts])
        if best is not None and len({(*each["mean"], *each["std"]) for each in facts}) > 1:
            better |= {id(finding): _normalised(finding, best, said, waiting) for finding in group}
    return [better.get(id(finding), finding) for finding in findings]


def _normalised(finding: Finding, words: str, said: Said, waiting: Waiting) -> Finding:
    """Return the network under one of the measured normalisations, which moves to the front of the list."""
    if finding.converted is None:
        return finding
    measured = sorted(finding.converted.facts["measured"], key=lambda one: one["normalisation"] != words)
    options = {**said.options, "mean": measured[0]["mean"], "std": measured[0]["std"]}
    facts = finding.converted.facts
    network = {"architecture": facts["architecture"], "config": facts["config"], "weights": facts["weights"]}
    anew = _converted(finding.data, programs=_programs(), waiting=waiting, **{**options, **network})
    why = f"{facts['why']}; {words} give the highest accuracy for all networks of this upload together"
    return replace(finding, converted=replace(anew, facts={**anew.facts, "measured": measured, "why": why}))


def show_findings(findings: Sequence[Finding]) -> list[Candidate | None]:
    """Draw all findings; return the selected candidate per finding, None without a question or an answer.

    Files with the same candidates share one question, and its answer holds for all of them.
    """
    groups: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        kinds = None if finding.question is None else sorted(map(_kind, finding.question.candidates))
        groups.setdefault(f"{number if kinds is None else kinds}", []).append(number)
    picks: list[Candidate | None] = [None] * len(findings)
    for numbers in groups.values():
        group = [findings[number] for number in numbers]
        with st.container(border=True):
            st.markdown(f"**{plain(', '.join(finding.stem for finding in group))}**")
            pick = _show(numbers[0], group)
        for number in numbers:
            picks[number] = pick
    return picks


def _kind(candidate: Candidate) -> str:
    """Return a candidate's identity as JSON, without its accuracy on images."""
    identity = (candidate.architecture, candidate.config, candidate.weights, dict(candidate.open))
    return json.dumps(identity, sort_keys=True, default=list)


def _show(number: int, group: Sequence[Finding]) -> Candidate | None:
    (finding, *_), questions = group, [one.question for one in group if one.question is not None]
    if questions:
        return _ask(number, [one.stem for one in group], questions)
    if finding.refusal:
        st.error(plain(finding.refusal), icon=":material/error:")
        st.caption("A network of any architecture can be uploaded as an exported program. This code writes one:")
        st.code(EXPORT, language="python")
    elif finding.converted is not None:
        _tell(finding.converted.facts)
    return None


def settle(finding: Finding, pick: Candidate | None, said: Said, waiting: Waiting) -> Finding:
    """Read the file again as the selected network; a finding without a selection is returned unchanged.

    pick: None where there was no question.  waiting: as for `convert`.
    Raises CheckpointError, UnknownArchitecture or InvalidRequest with a readable message.
    """
    if pick is None:
        return finding
    network = {"architecture": pick.architecture, "config": pick.config, "weights": pick.weights}
    options = {**said.options, **network}
    converted = _converted(finding.data, measure=True, programs=_programs(), waiting=waiting, **options)
    _check_said(converted, said)
    facts = {**converted.facts, "why": "chosen by its owner among the networks that fit its tensors"}
    return replace(finding, converted=replace(converted, facts=facts), question=None)


def keep(finding: Finding, said: Said) -> Entry:
    """Store a network. Raises InvalidRequest where the finding is not a network, or the owner's quota is used up."""
    converted = finding.converted
    if converted is None:
        raise InvalidRequest(f"{finding.stem} is not a network that can be added.")
    facts = {**converted.facts, "name": converted.facts["name"] or finding.stem}
    entry = uploaded(facts, converted.data, owner=owner(), created=time.time())
    entry = replace(entry, classes=said.classes or entry.classes, private=said.private)
    return ledger().add_model(entry, converted.data, owner(), network_address())


def _programs() -> list[Path]:
    """Return the files of the exported programs that the visitor can select, one per structure."""
    by_program = {entry.config["program"]: entry for entry in entries().values() if entry.architecture == PROGRAM}
    store = ledger().store
    return [store.path(entry.sha256) for entry in by_program.values() if store.has(entry.sha256)]


def _tell(facts: Mapping[str, Any]) -> None:
    """Show which network the file holds, why, and its accuracy under each normalisation."""
    st.markdown(f"{plain(facts['label'])} · {facts['parameters']:,} parameters  \n:gray[{plain(facts['why'])}]")
    if facts["aside"]:
        st.caption(f"The file also holds {plain(', '.join(facts['aside'][:8]))}, which is ignored.")
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
        st.error(f"{words}. Check its data set, normalisation and architecture.", icon=":material/warning:")


def _ask(number: int, stems: Sequence[str], questions: Sequence[AmbiguousCheckpoint]) -> Candidate | None:
    """Draw the candidates as a list, the most accurate first, with none preselected; return the answer."""
    measured: dict[str, list[Candidate]] = {_kind(candidate): [] for candidate in questions[0].candidates}
    for question in questions:
        for candidate in question.candidates:
            measured[_kind(candidate)].append(candidate)
    ranked = sorted(measured.values(), key=lambda same: -sum(one.accuracy or 0.0 for one in same))[:SHOWN]
    reasons = {question.why for question in questions}
    each = [f"for {stem} {question.why}" for stem, question in zip(stems, questions, strict=True)]
    why = reasons.pop() if len(reasons) == 1 else "; ".join(each)
    st.info(
        f"A state dict does not record how its layers are connected: {len(measured)} networks fit these tensors, "
        f"and {plain(why)}. Which network is in the file?",
        icon=":material/help:",
    )
    if not any(candidate.measured for same in ranked for candidate in same):
        st.caption("Choose the data set on the left to measure each of them on test images.")
    firsts = [same[0] for same in ranked]
    labels = [f"{candidate.label}{f', {candidate.weights}' if candidate.weights else ''}" for candidate in firsts]
    answer = st.radio(
        "Network",
        range(len(ranked)),
        format_func=lambda index: plain(labels[index]),
        captions=[_evidence(stems, same) for same in ranked],
        index=None,
        key=f"upload pick {number}",
        label_visibility="collapsed",
    )
    return None if answer is None else _settled(number, firsts[answer])


def _evidence(stems: Sequence[str], same: Sequence[Candidate]) -> str:
    """Return the accuracy of one candidate on images, per network where there are several."""
    lines = [(stem, evidence_words(one.measured)) for stem, one in zip(stems, same, strict=True) if one.measured]
    return "; ".join(words if len(stems) == 1 else f"{plain(stem)}: {words}" for stem, words in lines)


def _settled(number: int, candidate: Candidate) -> Candidate | None:
    """Draw a menu per setting that the tensors do not show; return the candidate, None until all are answered."""
    answers: dict[str, str | None] = {}
    labels = UNSEEN.get(candidate.architecture, {})
    for setting, choices in candidate.open.items():
        answers[setting] = st.selectbox(
            setting.replace("_", " ").capitalize(),
            list(choices),
            index=None,
            format_func=labels[setting].__getitem__,
            placeholder="choose",
            key=f"upload {setting} {number}",
        )
    return None if None in answers.values() else replace(candidate, config={**candidate.config, **answers}, open={})


def _check_said(converted: Converted, said: Said) -> None:
    facts = converted.facts
    check_fit(facts["dataset"], facts["architecture"], {"in_shape": facts["config"].get("in_shape", ())})
    outputs = facts["config"].get("classes")
    if said.classes and outputs and len(said.classes) != outputs:
        raise InvalidRequest(
            f"The network has {outputs} outputs, but {len(said.classes)} classes are named. Name one class per output."
        )
