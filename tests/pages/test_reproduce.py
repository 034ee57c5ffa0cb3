import shlex
from dataclasses import replace

import pytest

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.zoo import catalogue
from merging.zoo.datasets.fingerprint import fingerprint
from ui.runs.reproduce import changed, command, snippet

PAIR = tuple(ModelRef.of(catalogue.find_entry(f"fashion-mlp-128-s{seed}")) for seed in (0, 1))


CNNS = tuple(ModelRef.of(catalogue.find_entry(f"fashion-cnn{end}")) for end in ("-s0", "-s1", "-shared-a", "-shared-b"))
EXPERTS = MergeRequest(CNNS[:3], align="none", combine="ties", base=CNNS[3])


def request(**changes):
    data = fingerprint("fashion-mnist", 200)
    return MergeRequest(PAIR, dataset="fashion-mnist", data_sha256=data, images=200, points=5, **changes)


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(align="none", seed=4),
        request(correct="repair", settings={"align": {"restarts": 2}, "correct": {"images": 100}}),
        replace(EXPERTS, dataset="fashion-mnist", data_sha256=fingerprint("fashion-mnist", 2000)),
    ],
)
def test_the_command_line_asks_for_the_same_run(asked):
    from merging.cli.commands.merge import merge_request
    from merging.cli.main import parser
    from merging.cli.nets import read_net

    words = shlex.split(command(asked))
    assert words[:3] == ["python", "-m", "merging"]
    options = parser().parse_args(words[3:])
    nets = [read_net(name, options) for name in (options.a, options.b, *options.more)]
    base = read_net(options.base, options) if options.base else None
    assert merge_request(options, nets, base).id == asked.id


@pytest.mark.parametrize(
    "asked", [request(), request(correct="repair", settings={"correct": {"images": 100}}), MergeRequest(PAIR), EXPERTS]
)
def test_the_lines_of_python_run(asked, monkeypatch):
    monkeypatch.chdir(catalogue.FOLDER.parents[1])
    names: dict = {}
    exec(snippet(asked), names)  # our own text, as a person would paste it
    assert names["result"].notes["equivalence"] < 1e-6


def test_only_settings_of_ones_own_are_told():
    assert changed(request()) == {}
    assert changed(request(settings={"align": {"restarts": 2}})) == {"align": {"restarts": 2}}
