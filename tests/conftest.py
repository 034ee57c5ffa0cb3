"""What every test shares: one thread, drawn cases that repeat, and a home of its own so that no test writes yours."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: the tests' nets are too small for threads

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Shapes that the core's functions declare are checked in every test: before any of these files is imported.
SHAPED = (
    *("merging.methods.algorithms.transport", "merging.methods.algorithms.unit_maps"),
    *("merging.methods.algorithms.coordinate_descent", "merging.methods.algorithms.activation_statistics"),
    *("merging.analysis.similarity.hsic", "merging.analysis.activations.responses"),
)
install_import_hook(SHAPED, "beartype.beartype")

# Shared machines are slow at times, and the same cases every run make a failure one that can be repeated.
settings.register_profile("mergescope", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("mergescope")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser journeys first: they take longest, so that what runs beside them is done when they are."""
    items.sort(key=lambda item: "browser" not in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory):
    """A folder for ledgers and stores, set as MERGESCOPE_HOME for the tests and for all processes they start."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MERGESCOPE_HOME", str(folder))
        yield folder
