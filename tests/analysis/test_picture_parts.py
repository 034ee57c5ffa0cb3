"""Moves are bounded and repeat, images move as told, and contact sheets show every picture in its place."""

import numpy as np
import torch

from merging.analysis.pictures.render import moved
from merging.analysis.pictures.settings import GREY, Move, PictureSettings, contact_sheet, moves
from merging.results.reports import UnitPicture


def test_pictures_lie_row_by_row_one_pixel_apart() -> None:
    pictures = [np.full((2, 3, 3), value / 4, dtype=np.float32) for value in range(5)]
    sheet = contact_sheet([pictures[0], None, UnitPicture(pictures[2], 1.0, 0.0, {}), *pictures[3:]], 3)
    assert sheet.shape == (5, 11, 3)
    assert sheet.dtype == np.uint8
    assert (sheet[:2, :3] == 0).all()
    assert (sheet[:2, 4:7] == GREY).all()
    assert (sheet[:2, 8:] == 128).all()
    assert (sheet[3:, :3] == 191).all()
    assert (sheet[3:, 4:7] == 255).all()
    assert (sheet[3:, 8:] == GREY).all()  # no picture there
    assert (sheet[2] == 255).all()
    assert (sheet[:, 3] == 255).all()


def test_other_than_grey_and_rgb_is_shown_by_its_mean() -> None:
    picture = np.zeros((2, 2, 5), dtype=np.float32)
    picture[..., 0] = 1
    assert (contact_sheet([picture], 1) == 51).all()
    assert contact_sheet([picture], 1).shape == (2, 2, 1)
    assert contact_sheet([None], 2).shape == (1, 3, 1)


def test_moves_are_bounded_repeat_and_do_not_depend_on_how_many_follow() -> None:
    settings = PictureSettings(steps=200, jitter=0.25, scale=0.1, rotation=10.0)
    drawn = list(moves(3, settings, (8, 20)))
    assert drawn[:50] == list(moves(3, PictureSettings(steps=50, jitter=0.25, scale=0.1, rotation=10.0), (8, 20)))
    assert drawn != list(moves(4, settings, (8, 20)))
    assert {move.shift[0] for move in drawn} == set(range(-2, 3))
    assert {move.shift[1] for move in drawn} == set(range(-5, 6))
    assert 0.9 <= min(move.zoom for move in drawn) < 0.92 < 1.08 < max(move.zoom for move in drawn) <= 1.1
    assert 0.16 < max(abs(move.turn) for move in drawn) <= np.radians(10)
    plain = moves(3, PictureSettings(steps=9, jitter=0.0, scale=0.0, rotation=0.0), (8, 8))
    assert {(move.shift, move.turn, move.zoom) for move in plain} == {((0, 0), 0.0, 1.0)}


def test_moving_an_image() -> None:
    image = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(moved(image, Move((1, -2), 0.0, 1.0)), image.roll((1, -2), (2, 3)))
    turned = moved(image, Move((0, 0), float(np.pi / 2), 1.0))
    assert torch.allclose(turned, image.rot90(1, (2, 3)), atol=1e-5)
    flat = torch.zeros(1, 1, 8, 8)
    flat[..., 3:5, 3:5] = 1
    assert moved(flat, Move((0, 0), 0.0, 1.5)).sum() > flat.sum() * 1.5
