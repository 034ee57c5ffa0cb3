import hashlib
import shlex
from dataclasses import replace

import pytest

from merging.jobs.requests.base import ModelRef
from merging.jobs.requests.merge import MergeRequest
from merging.jobs.requests.zip_networks import ZipRequest
from merging.jobs.tasks.payload import Payload
from merging.jobs.tasks.run import run_task
from merging.progress import no_progress
from merging.results import saving
from merging.results.reports import Metrics
from merging.text.reproduce import changed, command, snippet, zip_snippet
from merging.zoo import catalogue
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.datasets.fingerprint import fingerprint, load_splits

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
    "asked",
    [
        request(),
        request(correct="repair", settings={"correct": {"images": 100}}),
        request(align="activation-matching", seed=3),
        replace(EXPERTS, dataset="fashion-mnist", data_sha256=fingerprint("fashion-mnist", 300), images=300),
    ],
    ids=["weights", "corrected", "activations", "experts"],
)
def test_the_lines_of_python_run_in_any_folder_and_print_the_run_s_numbers(asked, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    exec(snippet(asked), names := {})  # our own text, as a person would paste it
    checkpoints = tuple(catalogue.shipped_file(model.sha256).read_bytes() for model in asked.checkpoints)
    images = load_splits(asked.dataset, asked.images)
    made = saving.load(
        run_task("merge", Payload(asked.to_json(), checkpoints, images, "cpu", 1), no_progress)["report"]
    )
    printed, wanted = eval(capsys.readouterr().out, {"Metrics": Metrics}), made.scores["merge"]["test"]
    assert (printed.accuracy, printed.loss) == pytest.approx((wanted.accuracy, wanted.loss), abs=1e-6)
    assert names["result"].notes["equivalence"] < 1e-6


@pytest.mark.parametrize("asked", [MergeRequest(PAIR), EXPERTS], ids=["pair", "experts"])
def test_without_images_the_lines_run_too(asked, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    exec(snippet(asked), {})
    assert float(capsys.readouterr().out) < 1e-6


def test_uploaded_networks_are_read_from_the_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    data = load_checkpoint("fashion-mlp-128-s0").to_bytes()
    own = replace(PAIR[0], sha256=hashlib.sha256(data).hexdigest())
    (tmp_path / f"{own.sha256[:12]}.safetensors").write_bytes(data)  # the name with which Models offers the file
    exec(snippet(replace(request(), models=(own, PAIR[1]))), {})
    again = capsys.readouterr().out
    exec(snippet(request()), {})
    assert capsys.readouterr().out == again


def test_the_lines_of_a_partial_zip_run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    models = tuple(ModelRef.of(catalogue.find_entry(f"fashion-head-{half}")) for half in ("low", "high"))
    exec(zip_snippet(ZipRequest(models, "fashion-mnist", fingerprint("fashion-mnist", 200), images=200)), {})
    assert capsys.readouterr().out.splitlines()[0].startswith("features.2")


def test_only_settings_of_ones_own_are_told():
    assert changed(request()) == {}
    assert changed(request(settings={"align": {"restarts": 2}})) == {"align": {"restarts": 2}}
