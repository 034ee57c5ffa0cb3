"""`merge` for networks that a user's own factory (package.module:factory) builds.

Requests may not name such networks, so they are merged directly and not by the task of the workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from merging.cli.images import check_labels, need_batches
from merging.cli.nets import Net, chosen_device
from merging.cli.options import Options, check_base, chosen_methods
from merging.errors import InvalidRequest
from merging.naming import letter
from merging.progress import Progress
from merging.results.reports import MergeReport, Metrics
from merging.zoo.architectures.names import unlike

if TYPE_CHECKING:
    from merging.network.data import Batches
    from merging.pipeline.merge import Prepared


def merge_own(
    options: Options, nets: list[Net], base: Net | None, report: Progress
) -> tuple[MergeReport, dict[str, bytes]]:
    """Merge and measure on the images of --data.

    Returns:
        A report with curves and permutation, and the artifacts by file name.
    Raises:
        DataUnavailable: if --data is missing or its images are not on this machine.
        InvalidRequest: if the combination needs a missing --base, or if the networks' normalisations differ.
        Also the errors of `prepare` and `merge_curves`.
    """
    from merging.analysis.path.merge_curves import merge_curves
    from merging.jobs.tasks.common import arrays
    from merging.pipeline.merge import prepare
    from merging.zoo.checkpoints.checkpoint import save_checkpoint

    device = chosen_device(options)
    data = need_batches(options, nets[0], device)
    keys, settings = chosen_methods(options)
    for other in nets[1:]:
        if why := unlike(nets[0].checkpoint, other.checkpoint):
            raise InvalidRequest(f"{why} Give --mean and --std.")
    check_labels(options, nets)
    check_base([keys["combine"]], base)
    arguments: dict[str, Any] = {**keys, "settings": settings, "seed": options.seed, "report": report}
    start = base.module(device) if base else None
    prepared = prepare([net.module(device) for net in nets], base=start, data=data["train"], **arguments)
    two = len(nets) == 2
    how: dict[str, Any] = {"points": options.points, "correct": keys["correct"]}
    curves = merge_curves(prepared, data, part=lambda number, of, name: report, **how) if two else {}
    scores = {} if two else _scores(prepared, data)
    networks = {"merge.safetensors": prepared.merge().merged, "aligned.safetensors": prepared.problem.aligned[1]}
    files = {name: save_checkpoint(net.cpu(), architecture="", config={}, name=name) for name, net in networks.items()}
    permutation = {name: p.cpu().numpy() for name, p in prepared.alignment.permutations[1].items()}
    groups = {name: (len(p), int((p != range(len(p))).sum())) for name, p in permutation.items()}
    request = {"architecture": nets[0].checkpoint.architecture, "settings": settings, "seed": options.seed, **keys}
    results: dict[str, Any] = {"scores": scores, "permutation": permutation, "notes": dict(prepared.notes)}
    merge_report = MergeReport(request, (), groups, prepared.notes["equivalence"], curves, **results)
    return merge_report, {**files, "permutation.npz": arrays(permutation)}


def _scores(prepared: Prepared, data: dict[str, Batches]) -> dict[str, dict[str, Metrics]]:
    """Return the metrics of the networks and the merge by split. Used for 3 or more networks, which have no path."""
    from merging.analysis.path.evaluation import evaluate

    networks = {letter(number): model for number, model in enumerate(prepared.problem.models)}
    networks["merge"] = prepared.merge().merged
    return {name: {split: evaluate(net, images) for split, images in data.items()} for name, net in networks.items()}
