"""Numerical proof, in float64, that permuting units does not change a network's outputs.

float32 would give false alarms for deep networks. Outputs that are the same for all inputs prove nothing, and neither
do parameters whose entries are all equal, such as those of untrained norms and of zero-initialised heads. In the copies
that are compared, random numbers replace such parameters.
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

CONSTANT = 1e-9  # tolerance relative to the largest output: outputs that vary less between inputs prove nothing


def verify(
    model: nn.Module, spec: PermutationSpec, example: Tensor, seed: int = 0, *, graph: Graph | None = None
) -> float:
    """Return max |f(x) - f_pi(x)| / max |f(x)| in float64, with every group permuted at random.

    The result is about 1e-15 where the spec is right, and about 1 where it is wrong. It is infinite where an output is
    not a finite number, so that nothing is proven.

    Args:
        model: the network f.
        spec: the groups to test.
        example: (n, ...) images.
        seed: seed of the permutation and the random numbers.
        graph: the model's graph, if it is known.
    Raises:
        NotEquivalent: when the outputs are the same for all inputs.
    """
    x = proof_inputs(model, example, seed, graph)
    numbers, before = _telling(model, x, seed)
    permuted = permute(_exact(model, numbers), spec, spec.random(seed))
    return relative_change(before, _outputs(model, permuted, x), x)


def output_difference(a: nn.Module, b: nn.Module, images: Tensor) -> float:
    """Return max |a(x) - b(x)| over images and outputs, relative to the largest |a(x)|, computed in float64.

    images: (n, ...) on the models' device. The result is infinite where an output is not a finite number.
    Raises NotEquivalent where a's outputs are all 0, or are the same for several different images.
    """
    # in sequence, so that only one float64 copy exists at a time
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
    """Return the `output_difference` of a model and its permuted copy, with random numbers in constant parameters.

    Without random numbers, parameters whose entries are all equal would prove nothing about the permutation.

    Args:
        model: the network before the permutation.
        aligned: the same network after it.
        spec: the groups.
        permutation: group -> (units,).
        images: (n, ...) on the models' device.
        seed: seed of the random numbers.
    """
    numbers, before = _telling(model, images, seed)
    tensors = permute_tensors(numbers, restricted(spec, numbers), permutation)
    return relative_change(before, _outputs(aligned, _exact(aligned, tensors), images), images)


def proof_inputs(model: nn.Module, example: Tensor, seed: int = 0, graph: Graph | None = None) -> Tensor:
    """Return inputs (n, ...), n at least 2, that differ from each other.

    These are the example, with noise added if all its images are equal, or random tokens if the inputs are integers.
    graph: the model's graph, if it is known.
    """
    x = example.detach()
    x = torch.cat([x, x]) if len(x) < 2 else x
    if not x.is_floating_point():
        traced = graph or export(model, example)
        return random_tokens(tuple(x.shape), traced.tokens or (0, 2), x, seed)
    if bool((x == x[:1]).all()):
        x = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    return x


def random_numbers(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Return random float64 numbers for each parameter and running statistic whose entries are all equal.

    The numbers vary around the original value and have its sign; for an original value of 0 they vary around 0.
    """
    generator = torch.Generator().manual_seed(seed)
    numbers = {name: random_number(tensor, generator) for name, tensor in weights_and_statistics(model).items()}
    return {name: tensor for name, tensor in numbers.items() if tensor is not None}


def weights_and_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and the running statistics of norms: name -> tensor of any shape."""
    statistics = statistics_of(model)
    return dict([*model.named_parameters(), *(item for item in model.named_buffers() if item[0] in statistics)])


def random_number(tensor: Tensor, generator: torch.Generator) -> Tensor | None:
    """Return random numbers in a tensor's shape, as in `random_numbers`; None if its entries are not all equal."""
    if not tensor.is_floating_point() or tensor.numel() < 2 or not bool((tensor == tensor.flatten()[0]).all()):
        return None
    noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
    value = float(tensor.detach().flatten()[0])
    return (0.1 * noise if value == 0 else value * (1 + 0.4 * noise.tanh())).to(tensor.device)


def _telling(model: nn.Module, images: Tensor, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return the random numbers for the proof, and the outputs of the network with them.

    No numbers are used ({}) if they would make an output infinite or NaN.
    """
    numbers = random_numbers(model, seed)
    outputs = _outputs(model, _exact(model, numbers), images)
    if numbers and not bool(torch.isfinite(outputs).all()):
        return {}, _outputs(model, _exact(model), images)
    return numbers, outputs


def _exact(model: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a copy in eval mode and float64; `tensors` (name -> values) replace the tensors of the same names."""
    exact = copied(model).double()
    own = dict((*exact.named_parameters(), *exact.named_buffers()))
    with torch.no_grad():
        for name, tensor in (tensors or {}).items():
            own[name].copy_(tensor)
    return exact


def relative_change(before: Tensor, after: Tensor, images: Tensor) -> float:
    """Return the largest change of the outputs (n, ...) for images (n, ...), relative to the largest output.

    The result is infinite where an output is not a finite number. Raises NotEquivalent where the outputs prove nothing.
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
    """Return the outputs of a float64 copy, from its code, or from its graph if the code needs another precision."""
    x = images.double() if images.is_floating_point() else images
    with torch.no_grad():
        try:
            outputs: Tensor = exact(x.clone())
        except RuntimeError:
            graph = export(model, images[:2])
            tensors = dict((*exact.named_parameters(), *exact.named_buffers()))
            outputs = graph.run({name: tensor.detach() for name, tensor in tensors.items()}, x)[0]  # type: ignore
    return outputs
