"""A configuration that asks for far more than its weights hold is refused before memory is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from generation import WeightsError
from generation.model.files.network_size import no_larger_than


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_file({"a": torch.zeros(10, 10), "b": torch.zeros(5)}, path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Linear(10**6, 10**6),
        lambda: torch.nn.Embedding(10**9, 64),
        lambda: torch.randn(1, 10**8),
        lambda: torch.zeros((10**5, 10**5)),
        lambda: torch.empty(size=(10**5, 10**5)),
        lambda: torch.full((10**5, 10**5), 1.0),
        lambda: [torch.empty(1) for _ in range(10**5)],
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_too_large_a_network_is_refused(make: Callable[[], object], device: str, weights: Path) -> None:
    with (
        pytest.raises(WeightsError, match=r"configuration in .* far larger .*, which hold 105 numbers in 2 tensors"),
        torch.device(device),
        no_larger_than([weights]),
    ):
        make()


def test_one_of_the_weights_size_is_made_as_ever(weights: Path) -> None:
    torch.manual_seed(3)
    with no_larger_than([weights]):
        made = torch.nn.Linear(10, 10)
    torch.manual_seed(3)
    assert torch.equal(made.weight, torch.nn.Linear(10, 10).weight)
    assert torch.zeros(10**8).numel() == 10**8, "nothing is counted after the block"
