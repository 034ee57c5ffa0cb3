"""Feature visualization: pictures optimised to excite one unit (Olah et al. 2017).

A picture depends only on the weights, the layer, the unit, the settings and the seed. On one CPU with a fixed number of
threads, it is reproduced bit for bit. A pass therefore always holds 16 pictures, and their objectives are summed, so
that no picture influences another.

Only this file imports lucent, for two parts of a picture: Fourier coefficients scaled down by frequency, and the colour
correlation of natural images. lucent's optimisation loop is not used: it enlarges small images to 224 pixels,
normalises them like ImageNet images, couples the pictures of a pass by the mean of their objectives, and leaves hooks
and gradients on the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from lucent.optvis.param.color import color_correlation_normalized
from lucent.optvis.param.spatial import rfft2d_freqs
from torch import Tensor, nn
from torch.nn import functional as F

from merging.analysis.pictures.objective import Objective
from merging.analysis.pictures.settings import Move, PictureSettings, first_spectrum, moves
from merging.errors import InvalidRequest, MergescopeError
from merging.network.graph.graph import Graph, export
from merging.network.permutation import named_tensors
from merging.progress import Progress, no_progress
from merging.results.reports import UnitPicture
from merging.settings import read_settings, settings_dict

PASS = 16  # pictures in every pass: another batch size may select another kernel, whose rounding differs
TELL = 16  # steps between two progress reports
EPS = 1e-16  # Adam's epsilon. With the usual 1e-8 a picture depends on the unit's scale: the gradients are ~1e-6
MAGIC = 4.0  # lucid divides a Fourier picture by this number to avoid saturation
OnBatch = Callable[[tuple[UnitPicture, ...]], None]


def feature_images(
    model: nn.Module,
    layer: str,
    units: Sequence[int],
    *,
    input_shape: Sequence[int],
    steps: int = 256,
    seed: int = 0,
    report: Progress | None = None,
    objective: str = "neuron",
    device: torch.device | str | None = None,
) -> np.ndarray:
    """Render pictures of some units of one layer: (units, H, W, C) float32 in 0..1, in the order of `units`.

    Args:
        model: takes images (n, C, H, W) in 0..1; it is not changed.
        layer: name of the layer in torch.
        input_shape: (C, H, W).
        objective: "neuron", the unit's value at the centre, or "channel", its mean over positions.
        device: device to compute on; default: the model's device.

    Raises UnknownLayer, InvalidRequest, InvalidSetting, UnsupportedOperation.
    """
    settings = read_settings(PictureSettings, {"steps": steps, "objective": objective})
    channels, height, width = shape = _image_shape(input_shape)
    tensors = named_tensors(model)
    home = _first_float(tensors).device
    graph = export(model, torch.zeros(1, *shape, device=home))
    there = {name: tensor.to(device or home) for name, tensor in tensors.items()}
    progress = report or no_progress
    pictures = render(graph, there, layer, units, input_shape=shape, settings=settings, seed=seed, report=progress)
    return np.array([picture.pixels for picture in pictures], np.float32).reshape(-1, height, width, channels)


@torch.inference_mode(False)
def render(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    layer: str,
    units: Sequence[int],
    *,
    input_shape: Sequence[int],
    settings: PictureSettings | None = None,
    seed: int = 0,
    report: Progress = no_progress,
    on_batch: OnBatch | None = None,
) -> tuple[UnitPicture, ...]:
    """Render pictures of some units of one layer, in the order of `units`, for any network of the graph's structure.

    Args:
        tensors: name -> tensor, as from `named_tensors`; they determine data type and device, and get no gradients.
        input_shape: (C, H, W) with which the graph was exported.
        report: called with "rendering" every 16 steps; an error raised by `report` (Cancelled) is passed on.
        on_batch: called with the pictures of each pass as soon as they are finished.

    Raises UnknownLayer (also for a unit out of range), InvalidRequest, and MergescopeError if the layer outputs NaN.
    """
    artist = Artist.of(graph, tensors, layer, input_shape=input_shape, settings=settings, seed=seed)
    artist.objective.check(units)
    pictures: list[UnitPicture] = []
    for first in range(0, len(units), PASS):
        numbers = [int(unit) for unit in units[first : first + PASS]]
        words = f"units {first + 1}-{first + len(numbers)} of {len(units)}"
        steps = artist.settings.steps
        batch, _ = artist.draw(numbers, _teller(report, first // PASS, -(-len(units) // PASS), words, steps))
        if on_batch is not None:
            on_batch(batch)
        pictures += batch
    return tuple(pictures)


def direction_images(
    graph: Graph,
    tensors: Mapping[str, Tensor],
    layer: str,
    directions: np.ndarray,
    *,
    settings: PictureSettings | None = None,
    seed: int = 0,
) -> tuple[UnitPicture, ...]:
    """Render pictures of directions in a layer, i.e. of weighted sums of its units. directions: (k, units) weights.

    The other arguments are those of `render`. Raises UnknownLayer, and InvalidRequest if the directions do
    not have one weight per unit.
    """
    shape = tuple(graph.record.values[graph.input][1:])
    artist = Artist.of(graph, tensors, layer, input_shape=shape, settings=settings, seed=seed)
    if directions.ndim != 2 or directions.shape[1] != artist.objective.layer.units:
        raise InvalidRequest(
            f"{layer} has {artist.objective.layer.units} units, so each direction needs as many weights; the shape is "
            f"{directions.shape}."
        )
    pictures: list[UnitPicture] = []
    for first in range(0, len(directions), PASS):
        rows = directions[first : first + PASS]
        filled = np.concatenate([rows, rows[:1].repeat(PASS - len(rows), 0)])
        weights = torch.from_numpy(filled).to(artist.paint.scale)
        pictures += artist.draw(list(range(first, first + len(rows))), lambda step: None, weights=weights)[0]
    return tuple(pictures)


@dataclass(frozen=True)
class _Paint:
    """Map from Fourier coefficients to images.

    Attributes:
        size: (H, W).
        scale: (1, 1, H, F, 1), the weight of each frequency.
        colours: (3, 3) colour correlation, or None.
    """

    size: tuple[int, int]
    scale: Tensor
    colours: Tensor | None

    @staticmethod
    def of(shape: tuple[int, int, int], decay: float, like: Tensor) -> _Paint:
        """Build the map for images of shape (C, H, W), with data type and device of `like`; only RGB has `colours`."""
        channels, height, width = shape
        frequency = np.maximum(rfft2d_freqs(height, width), 1 / max(height, width))[None, None, :, :, None]
        colours = like.new_tensor(color_correlation_normalized) if channels == 3 else None
        return _Paint((height, width), like.new_tensor(frequency**-decay), colours)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Images (n, C, H, W) in 0..1 from real and imaginary parts (n, C, H, F, 2)."""
        images = torch.fft.irfft2(torch.view_as_complex(self.scale * spectrum), s=self.size, norm="ortho") / MAGIC
        if self.colours is not None:
            images = (self.colours @ images.flatten(2)).view(images.shape)
        # A CPU processes up to 32 numbers at a time and rounds a shorter remainder differently. Padding to a
        # multiple of 32 avoids such a remainder.
        count = images[0].numel()
        whole = F.pad(images.flatten(1), (0, -count % 32))
        return torch.sigmoid(whole)[:, :count].reshape(images.shape)

    @property
    def name(self) -> str:
        """Name of the parameterisation, stored with each picture."""
        return "Fourier" if self.colours is None else "Fourier, colours correlated as in natural images"


@dataclass(frozen=True)
class Artist:
    """Renderer of pictures for one layer of one network, with fixed settings and seed."""

    objective: Objective
    paint: _Paint
    settings: PictureSettings
    seed: int

    @staticmethod
    def of(
        graph: Graph,
        tensors: Mapping[str, Tensor],
        layer: str,
        *,
        input_shape: Sequence[int],
        settings: PictureSettings | None = None,
        seed: int = 0,
    ) -> Artist:
        """Build the renderer. Arguments and errors are those of `render`; input_shape: (C, H, W)."""
        settings, shape = settings or PictureSettings(), _image_shape(input_shape)
        exported_shape = tuple(graph.record.values[graph.input][1:])
        if exported_shape != shape:
            raise InvalidRequest(f"This network reads images of {_by(exported_shape)}, not of {_by(shape)}.")
        tensors = {name: value.clone() if value.is_inference() else value for name, value in tensors.items()}
        objective = Objective.of(graph, tensors, layer, settings.objective, negative=settings.negative)
        return Artist(objective, _Paint.of(shape, settings.decay, _first_float(tensors)), settings, seed)

    def draw(
        self,
        chosen: list[int],
        tell: Callable[[int], None] = lambda step: None,
        *,
        start: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> tuple[tuple[UnitPicture, ...], Tensor]:
        """Optimise at most 16 pictures in one pass; return the pictures and the pass's Fourier coefficients.

        Args:
            chosen: numbers of the units; free places in the pass are filled with the first unit.
            tell: called every 16 steps with the number of the step.
            start: (16, C, H, F, 2) coefficients of another pass to continue from.
            weights: (16, units) directions to use instead of the units.
        """
        units = torch.tensor([*chosen, *chosen[:1] * (PASS - len(chosen))], device=self.paint.scale.device)
        units = units if weights is None else weights
        if start is None:
            start = self._noise(self.objective.graph.record.values[self.objective.graph.input][1])
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            spectrum = self._climb(start, units, tell)
            with torch.no_grad():
                images = self.paint(spectrum)
                before, after = (self.objective(x, units)[0].tolist() for x in (self.paint(start), images))
                response = self.objective.strongest(images, units).tolist()
        pixels = images.permute(0, 2, 3, 1).float().cpu().numpy()
        layer = self.objective.layer.name
        if not (np.isfinite(pixels).all() and np.isfinite(after).all()):
            raise MergescopeError(
                f"The output of {layer} is NaN or infinite, so no picture can be made. Check the network's weights."
            )
        how = {**settings_dict(self.settings), "parameterisation": self.paint.name, "seed": self.seed, "layer": layer}
        pictures = tuple(
            UnitPicture(
                np.ascontiguousarray(pixels[place]), after[place], before[place], {**how, "unit": unit}, response[place]
            )
            for place, unit in enumerate(chosen)
        )
        return pictures, spectrum

    def _noise(self, channels: int) -> Tensor:
        """Return the same noise for all units, so that pictures with one seed differ only by their units."""
        noise = first_spectrum(self.seed, (1, channels, *self.paint.scale.shape[2:4], 2))
        return torch.from_numpy(noise).to(self.paint.scale).expand(PASS, *noise.shape[1:]).contiguous()

    def _climb(self, start: Tensor, units: Tensor, tell: Callable[[int], None]) -> Tensor:
        """Coefficients after gradient ascent with Adam. Summing the objectives keeps the pictures independent."""
        with torch.enable_grad():
            spectrum = start.clone().requires_grad_()
            adam = torch.optim.Adam([spectrum], lr=self.settings.lr, eps=EPS, maximize=True)
            for step, move in enumerate(moves(self.seed, self.settings, self.paint.size)):
                if step % TELL == 0:
                    tell(step)
                _, climbed = self.objective(moved(self.paint(spectrum), move), units)
                (spectrum.grad,) = torch.autograd.grad(climbed.sum(), spectrum)
                adam.step()
        return spectrum.detach()


def moved(images: Tensor, move: Move) -> Tensor:
    """Apply one move to all images (n, C, H, W), which keep their size: roll them around the edges, rotate and zoom."""
    images = torch.roll(images, move.shift, (2, 3))
    if move.turn == 0 and move.zoom == 1:
        return images
    cos, sin = np.cos(move.turn) / move.zoom, np.sin(move.turn) / move.zoom
    matrix = images.new_tensor([[cos, -sin, 0], [sin, cos, 0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _first_float(tensors: Mapping[str, Tensor]) -> Tensor:
    return next((tensor for tensor in tensors.values() if tensor.is_floating_point()), torch.zeros(()))


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise InvalidRequest(f"Pictures need an input shape (channels, height, width), not {tuple(shape)}.")
    return shape[0], shape[1], shape[2]


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _teller(report: Progress, number: int, passes: int, words: str, steps: int) -> Callable[[int], None]:
    def tell(step: int) -> None:
        report("rendering", (number + step / steps) / passes, f"{words}, step {step} of {steps}")

    return tell
