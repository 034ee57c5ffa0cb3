"""Pictures of units are made of layers that hold the images in a dimension of their own, wherever that is."""

import pytest
import torch
from torch import nn

from merging.analysis.pictures.settings import PictureSettings
from merging.errors import InvalidRequest
from tests.analysis.test_feature_images import pictures


def test_a_layer_that_mixes_the_images_is_refused() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix = nn.Conv2d(1, 6, 4, 4), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            return self.mix(tokens.reshape(-1, 6)).view(-1, 4, 5).mean(1)

    assert len(pictures(Tokens(), "patches", [0])) == 1
    with pytest.raises(
        InvalidRequest, match=r"mix mixes the images of a batch: for 2 images its output has shape .8, 5."
    ):
        pictures(Tokens(), "mix", [0])


def test_a_picture_that_would_depend_on_its_companions_is_refused_with_the_remedy() -> None:
    norm = nn.BatchNorm2d(6, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    assert len(pictures(model, "0", [0])) == 1
    for layer in ("1", "2", "5"):
        with pytest.raises(InvalidRequest, match=f"{layer} mixes the images.*track_running_stats=True"):
            pictures(model, layer, [0])


def test_pictures_of_a_transformer_that_holds_the_images_second() -> None:
    class Second(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix = nn.Conv2d(1, 6, 4, 4), nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mix(self.patches(x).flatten(2).permute(2, 0, 1)).mean(0)

    torch.manual_seed(0)
    model = Second().eval()
    for unit, picture in enumerate(pictures(model, "mix", range(5), settings=PictureSettings(objective="channel"))):
        value = model(torch.from_numpy(picture.pixels).permute(2, 0, 1)[None])[0, unit]
        assert picture.objective == pytest.approx(float(value.detach()), abs=1e-5)
