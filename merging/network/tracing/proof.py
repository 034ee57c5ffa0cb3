"""The proof by numbers that permuted units leave a network's outputs as they are, in float64.

Deep networks in float32 give false alarms. Outputs that are the same for all inputs prove nothing, and neither do
parameters whose numbers are all equal, as those of fresh norms and of heads that begin at 0: in the copies that are
compared, such parameters hold random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from merging.errors import NotEquivalent
from merging.network.constants import statistics_of
from merging.network.copying import copied
from merging.network.graph.graph import Graph, export
from merging.network.graph.tokens import random_tokens
from merging.network.permutation import Permutation, PermutationSpec, permute, permute_tensors, restricted

CONSTANT = 1e-9  # of the largest output: outputs that vary less between inputs say nothing


def verify(
    model: nn.Module, spec: PermutationSpec, example: Tensor, seed: int = 0, *, graph: Graph | None = None
) -> float:
    """max |f(x) - f_pi(x)| / max |f(x)| in float64 with every group permuted at random; example: (n, ...) images.

    graph: the model's, where it is known.  About 1e-15 where the spec is right, about 1 where it is wrong.
    Infinite where an output is not a finite number, so that nothing is proven by it. Raises NotEquivalent where the
    outputs are the same for all inputs.
    """
    x = proof_inputs(model, example, seed, graph)
    drawn, before = _telling(model, x, seed)
    permuted = permute(_exact(model, drawn), spec, spec.random(seed))
    return relative_change(before, _outputs(model, permuted, x), x)


def output_difference(a: nn.Module, b: nn.Module, images: Tensor) -> float:
    """max |a(x) - b(x)| over images and outputs, relative to the largest |a(x)|, computed in float64.

    images: (n, ...) on the models' device. Infinite where an output is not a finite number.
    Raises NotEquivalent where a's outputs are all 0, or the same for several different images.
    """
    # one after another, so that only one copy in float64 exists at a time
    before, after = (_outputs(model, _exact(model), images) for model in (a, b))
    return relative_change(before, after, images)


def permuted_difference(
    model: nn.Module,
    aligned: nn.Module,
    spec: PermutationSpec,
    permutation: Permutation,
    images: Tensor,
    seed: int = 0,
) -> float:
    """As `output_difference`, of a model and of that model permuted, whose constant parameters prove as much as others.

    permutation: group -> (units,).  images: (n, ...) on the models' device.
    """
    drawn, before = _telling(model, images, seed)
    moved = permute_tensors(drawn, restricted(spec, drawn), permutation)
    return relative_change(before, _outputs(aligned, _exact(aligned, moved), images), images)


def proof_inputs(model: nn.Module, example: Tensor, seed: int = 0, graph: Graph | None = None) -> Tensor:
    """Inputs (n, ...), n at least 2, that differ from each other: the example, or tokens that are drawn anew.

    graph: the model's, where it is known.
    """
    x = example.detach()
    x = torch.cat([x, x]) if len(x) < 2 else x
    if not x.is_floating_point():
        known = graph or export(model, example)
        return random_tokens(tuple(x.shape), known.tokens or (0, 2), x, seed)
    if bool((x == x[:1]).all()):
        x = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    return x


def random_numbers(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Name -> float64 numbers in place of those of each parameter and running statistic whose numbers are all equal.

    Around the number itself, and around 0 in place of 0, so that what was positive stays so.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: random_number(tensor, generator) for name, tensor in weights_and_statistics(model).items()}
    return {name: tensor for name, tensor in drawn.items() if tensor is not None}


def weights_and_statistics(model: nn.Module) -> dict[str, Tensor]:
    """The parameters, and the running statistics of norms: name -> tensor of any shape."""
    statistics = statistics_of(model)
    return dict([*model.named_parameters(), *(item for item in model.named_buffers() if item[0] in statistics)])


def random_number(tensor: Tensor, generator: torch.Generator) -> Tensor | None:
    """Numbers in place of those of one tensor of any shape, as `random_numbers` says; None where they are not equal."""
    if not tensor.is_floating_point() or tensor.numel() < 2 or not bool((tensor == tensor.flatten()[0]).all()):
        return None
    noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    value = float(tensor.detach().flatten()[0])
    return (0.1 * noise if value == 0 else value * (1 + 0.4 * noise.tanh())).to(tensor.device)


def _telling(model: nn.Module, images: Tensor, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """The random numbers to prove with and the outputs with them; none where they make an output no finite number."""
    drawn = random_numbers(model, seed)
    outputs = _outputs(model, _exact(model, drawn), images)
    if drawn and not bool(torch.isfinite(outputs).all()):
        return {}, _outputs(model, _exact(model), images)
    return drawn, outputs


def _exact(model: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A copy in eval mode and float64, with other numbers in the tensors of these names."""
    exact = copied(model).double()
    own = dict((*exact.named_parameters(), *exact.named_buffers()))
    with torch.no_grad():
        for name, tensor in (tensors or {}).items():
            own[name].copy_(tensor)
    return exact


def relative_change(before: Tensor, after: Tensor, images: Tensor) -> float:
    """The largest change of the outputs (n, ...) for images (n, ...), relative to the largest output.

    Infinite where an output is not a finite number. Raises NotEquivalent where outputs say nothing.
    """
    largest, error = float(before.abs().max()), float((before - after).abs().max())
    if not (math.isfinite(largest) and math.isfinite(error)):
        return math.inf
    several = not bool((images == images[:1]).all())
    if largest == 0 or (several and float((before - before[:1]).abs().max()) <= CONSTANT * largest):
        raise NotEquivalent(
            "The network gives the same output for all inputs that were tried, so equal outputs prove nothing about "
            "the order of its units. Check its weights: a layer may be dead or all 0."
        )
    return error / largest


def _outputs(model: nn.Module, exact: nn.Module, images: Tensor) -> Tensor:
    """What a copy in float64 gives: by its own code, or by its graph where that names another precision."""
    x = images.double() if images.is_floating_point() else images
    with torch.no_grad():
        try:
            outputs: Tensor = exact(x.clone())
        except RuntimeError:
            graph = export(model, images[:2])
            tensors = dict((*exact.named_parameters(), *exact.named_buffers()))
            outputs = graph.run({name: tensor.detach() for name, tensor in tensors.items()}, x)[0]  # type: ignore
    return outputs
