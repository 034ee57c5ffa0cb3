"""Feature visualization: pictures made by optimisation so that they excite one unit (Olah et al. 2017).

A picture is a function of the weights, the layer, the unit, the settings and the seed alone, bit for bit on one CPU
and number of threads: a pass always holds 16 pictures, whose objectives are summed, so that none feels its companions.
Only this file imports lucent, for what a picture is made of: Fourier coefficients held back by frequency, and the
colours of natural images. lucent's loop is not used: it enlarges small images to 224 pixels and normalises them as
ImageNet's, couples the pictures of a pass by a mean, and leaves hooks and gradients on the network.
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

PASS = 16  # pictures a pass, always: another number may select another kernel, whose rounding differs
TELL = 16  # steps between two reports
EPS = 1e-16  # Adam's. A coefficient's gradient is ~1e-6: with the usual 1e-8 a picture depends on the unit's scale
MAGIC = 4.0  # lucid's divisor of a Fourier picture, against saturation
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
    objective: str = "channel",
    device: torch.device | str | None = None,
) -> np.ndarray:
    """Pictures of some units of one layer: (units, H, W, C) float32 in 0..1, in the order asked for.

    model: takes images (n, C, H, W) in 0..1; it is left as it is.  layer: its name in torch.  input_shape: (C, H, W).
    objective: "channel", the mean over positions, or "neuron", the centre.  device: where to compute; by default where
    the model is.  Raises UnknownLayer, InvalidRequest, InvalidSetting, UnsupportedOperation.
    """
    settings = read_settings(PictureSettings, {"steps": steps, "objective": objective})
    channels, height, width = shape = _image_shape(input_shape)
    tensors = named_tensors(model)
    home = _first_float(tensors).device
    graph = export(model, torch.zeros(1, *shape, device=home))
    there = {name: tensor.to(device or home) for name, tensor in tensors.items()}
    told = report or no_progress
    pictures = render(graph, there, layer, units, input_shape=shape, settings=settings, seed=seed, report=told)
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
    """Pictures of some units of one layer, in the order asked for, of any network of the graph's structure.

    tensors: name -> tensor, as from `named_tensors`; they set type and device, and they get no gradients.
    input_shape: (C, H, W), as the graph was exported with.  report: told "rendering" every 16 steps; what it raises
    (Cancelled) passes through.  on_batch: gets the pictures of every pass as soon as they are done.
    Raises UnknownLayer (also for a unit out of range), InvalidRequest, and MergescopeError where the layer gives NaN.
    """
    artist = Artist.of(graph, tensors, layer, input_shape=input_shape, settings=settings, seed=seed)
    artist.objective.check(units)
    pictures: list[UnitPicture] = []
    for first in range(0, len(units), PASS):
        chosen = [int(unit) for unit in units[first : first + PASS]]
        words = f"units {first + 1}-{first + len(chosen)} of {len(units)}"
        steps = artist.settings.steps
        done, _ = artist.draw(chosen, _teller(report, first // PASS, -(-len(units) // PASS), words, steps))
        if on_batch is not None:
            on_batch(done)
        pictures += done
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
    """Pictures of directions in a layer: of sums of its units. directions: (k, units) weights of the units.

    Otherwise as `render`. Raises UnknownLayer, InvalidRequest where the directions are of another width.
    """
    shape = tuple(graph.record.values[graph.input][1:])
    artist = Artist.of(graph, tensors, layer, input_shape=shape, settings=settings, seed=seed)
    if directions.ndim != 2 or directions.shape[1] != artist.objective.layer.units:
        raise InvalidRequest(
            f"{layer} has {artist.objective.layer.units} units; directions are rows of so many weights, not of shape "
            f"{directions.shape}."
        )
    found: list[UnitPicture] = []
    for first in range(0, len(directions), PASS):
        rows = directions[first : first + PASS]
        filled = np.concatenate([rows, rows[:1].repeat(PASS - len(rows), 0)])
        weights = torch.from_numpy(filled).to(artist.paint.scale)
        found += artist.draw(list(range(first, first + len(rows))), lambda step: None, weights=weights)[0]
    return tuple(found)


@dataclass(frozen=True)
class _Paint:
    """Fourier coefficients to images. scale: (1, 1, H, F, 1) weight of a frequency; colours: (3, 3) or None."""

    size: tuple[int, int]
    scale: Tensor
    colours: Tensor | None

    @staticmethod
    def of(shape: tuple[int, int, int], decay: float, like: Tensor) -> _Paint:
        """For images of shape (C, H, W), in the type and on the device of `like`; only RGB has colours to correlate."""
        channels, height, width = shape
        frequency = np.maximum(rfft2d_freqs(height, width), 1 / max(height, width))[None, None, :, :, None]
        colours = like.new_tensor(color_correlation_normalized) if channels == 3 else None
        return _Paint((height, width), like.new_tensor(frequency**-decay), colours)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """(n, C, H, W) in 0..1 from real and imaginary parts (n, C, H, F, 2)."""
        images = torch.fft.irfft2(torch.view_as_complex(self.scale * spectrum), s=self.size, norm="ortho") / MAGIC
        if self.colours is not None:
            images = (self.colours @ images.flatten(2)).view(images.shape)
        # A processor takes up to 32 numbers at a time and rounds the rest otherwise: no picture may end in such a rest.
        count = images[0].numel()
        whole = F.pad(images.flatten(1), (0, -count % 32))
        return torch.sigmoid(whole)[:, :count].reshape(images.shape)

    @property
    def name(self) -> str:
        """For the record of how a picture was made."""
        return "Fourier" if self.colours is None else "Fourier, colours correlated as in natural images"


@dataclass(frozen=True)
class Artist:
    """All that pictures of one network's layer, made in one way, have in common."""

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
        """Arguments and errors as of `render`; input_shape: (C, H, W)."""
        settings, shape = settings or PictureSettings(), _image_shape(input_shape)
        known = tuple(graph.record.values[graph.input][1:])
        if known != shape:
            raise InvalidRequest(f"This network reads images of {_by(known)}, not of {_by(shape)}.")
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
        """At most 16 pictures from one pass, which is filled up with the first unit; and the pass's coefficients.

        tell: called with the step's number.  start: (16, C, H, F, 2) coefficients of another pass to go on from.
        weights: (16, units) directions in place of the units.
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
        pixels = images.permute(0, 2, 3, 1).float().cpu().numpy()
        layer = self.objective.layer.name
        if not (np.isfinite(pixels).all() and np.isfinite(after).all()):
            raise MergescopeError(
                f"{layer} gives NaN or infinity, so there is no picture. Check the network's weights."
            )
        how = {**settings_dict(self.settings), "parameterisation": self.paint.name, "seed": self.seed, "layer": layer}
        pictures = tuple(
            UnitPicture(np.ascontiguousarray(pixels[place]), after[place], before[place], {**how, "unit": unit})
            for place, unit in enumerate(chosen)
        )
        return pictures, spectrum

    def _noise(self, channels: int) -> Tensor:
        """One noise for all units: what differs between two pictures of a seed then comes from the units."""
        noise = first_spectrum(self.seed, (1, channels, *self.paint.scale.shape[2:4], 2))
        return torch.from_numpy(noise).to(self.paint.scale).expand(PASS, *noise.shape[1:]).contiguous()

    def _climb(self, start: Tensor, units: Tensor, tell: Callable[[int], None]) -> Tensor:
        """The coefficients after gradient ascent by Adam; the gradient of a sum leaves each picture its own."""
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
    """The images (n, C, H, W) moved alike, at their own size: shifted round the edges, then turned and zoomed."""
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
