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
from torch.nn.modules.batchnorm import _NormBase

from merging.errors import NotEquivalent
from merging.graph import Graph, export
from merging.network.copying import copied
from merging.network.graph.tokens import random_tokens
from merging.permutation import Permutation, PermutationSpec, permute, permute_tensors, restricted

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
    exact = _exact(model, random_numbers(model, seed))
    before = _outputs(model, exact, x)
    return _change(before, _outputs(model, permute(exact, spec, spec.random(seed)), x), x)


def output_difference(a: nn.Module, b: nn.Module, images: Tensor) -> float:
    """max |a(x) - b(x)| over images and outputs, relative to the largest |a(x)|, computed in float64.

    images: (n, ...) on the models' device. Infinite where an output is not a finite number.
    Raises NotEquivalent where a's outputs are all 0, or the same for several different images.
    """
    # one after another, so that only one copy in float64 exists at a time
    before, after = (_outputs(model, _exact(model), images) for model in (a, b))
    return _change(before, after, images)


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
    drawn = random_numbers(model, seed)
    moved = permute_tensors(drawn, restricted(spec, drawn), permutation)
    pairs = ((model, drawn), (aligned, moved))
    before, after = (_outputs(one, _exact(one, tensors), images) for one, tensors in pairs)
    return _change(before, after, images)


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
    statistics = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        if isinstance(module, _NormBase)
        for name, _ in module.named_buffers(recurse=False)
    }
    tensors = [*model.named_parameters(), *(item for item in model.named_buffers() if item[0] in statistics)]
    drawn = {}
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel() > 1 and bool((tensor == tensor.flatten()[0]).all()):
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            value = float(tensor.detach().flatten()[0])
            drawn[name] = (0.1 * noise if value == 0 else value * (1 + 0.4 * noise.tanh())).to(tensor.device)
    return drawn


def _exact(model: nn.Module, tensors: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A copy in eval mode and float64, with other numbers in the tensors of these names."""
    exact = copied(model).double()
    own = dict((*exact.named_parameters(), *exact.named_buffers()))
    with torch.no_grad():
        for name, tensor in (tensors or {}).items():
            own[name].copy_(tensor)
    return exact


def _change(before: Tensor, after: Tensor, images: Tensor) -> float:
    """The relative change of the outputs (n, ...) for images (n, ...)."""
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
