"""What a LoRA adds to a weight, against sums written out, and which tensors go together."""

from __future__ import annotations

import itertools

import pytest
import torch

from generation.model.lora.change import changed_size, delta, rank, with_magnitude
from generation.model.lora.keys import bundled_embedding, parse_key


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def sizes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_tuckers_decomposition_of_a_convolution() -> None:
    tensors = {"up": random(5, 2, 1, 1), "mid": random(2, 3, 3, 3), "down": random(3, 4, 1, 1)}
    change = delta(tensors, 0.5, (5, 4, 3, 3))
    for out, into, y, x in itertools.product(range(5), range(4), range(3), range(3)):
        total = sum(
            tensors["up"][out, i, 0, 0] * tensors["mid"][i, j, y, x] * tensors["down"][j, into, 0, 0]
            for i in range(2)
            for j in range(3)
        )
        assert float(change[out, into, y, x]) == pytest.approx(0.5 * float(total), abs=1e-5)
    assert (changed_size(sizes(tensors)), rank(sizes(tensors))) == ((5, 36), 3)


def test_a_whole_difference_and_a_scalar() -> None:
    difference, scalar = random(3, 4), torch.tensor(2.0)
    assert torch.equal(delta({"diff": difference}, 7.0, (3, 4)), difference)
    tensors = {"up": random(3, 2), "down": random(2, 4), "scalar": scalar}
    assert torch.allclose(delta(tensors, 0.5, (3, 4)), tensors["up"] @ tensors["down"])
    assert changed_size({"diff": (3, 4, 1, 1)}) == (3, 4)
    assert rank({"lokr_w1": (2, 2), "lokr_w2": (3, 3)}) is None


@pytest.mark.parametrize(("shape", "axis"), [((3,), 1), ((3, 1), 1), ((1, 4), 0)])
def test_a_magnitude_is_the_length_of_rows_or_columns(shape: tuple[int, ...], axis: int) -> None:
    weight, magnitude = random(3, 4), random(*shape).abs()
    changed = with_magnitude(weight, magnitude)
    assert torch.allclose(changed.norm(dim=axis), magnitude.flatten())
    assert torch.allclose(changed / changed.norm(dim=axis, keepdim=True), weight / weight.norm(dim=axis, keepdim=True))


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (1, 3, 1, 1)])
def test_a_magnitude_of_a_convolution(shape: tuple[int, ...]) -> None:
    """LyCORIS and peft write it in two shapes."""
    weight, magnitude = random(3, 4, 3, 3), random(*shape).abs()
    assert torch.allclose(with_magnitude(weight, magnitude).flatten(1).norm(dim=1), magnitude.flatten())


@pytest.mark.parametrize(
    "shapes",
    [
        {"down": (2, 4)},
        {"up": (4, 2), "down": (3, 4)},
        {"up": (4, 2), "mid": (3, 3, 3, 3), "down": (3, 4)},
        {"hada_w1_a": (4, 2), "hada_w1_b": (2, 4)},
        {"hada_w1_a": (4, 2), "hada_w1_b": (2, 4), "hada_w2_a": (4, 2), "hada_w2_b": (3, 4)},
        {"hada_w1_a": (4, 2), "hada_w1_b": (2, 4), "hada_w2_a": (5, 2), "hada_w2_b": (2, 4)},
        {"lokr_w1": (2, 2), "lokr_w2_a": (2, 2)},
        {"lokr_w1": (2, 2), "lokr_w2_a": (2, 2), "lokr_w2_b": (3, 2)},
        {"alpha": ()},
    ],
)
def test_tensors_that_do_not_go_together(shapes: dict[str, tuple[int, ...]]) -> None:
    assert changed_size(shapes) is None


@pytest.mark.parametrize(
    ("key", "parsed"),
    [
        ("unet.a.to_q.lora_A.weight", ("unet.a.to_q", "down")),
        ("base_model.model.a.to_q.lora_B.default.weight", ("base_model.model.a.to_q", "up")),
        ("a.to_q.lora_B.bias", ("a.to_q", "up_bias")),
        ("unet.a.processor.to_out_lora.up.weight", ("unet.a.to_out.0", "up")),
        ("text_encoder.q_proj.lora_linear_layer.down.weight", ("text_encoder.q_proj", "down")),
        ("lora_unet_a_to_q.lora_down.weight", ("lora_unet_a_to_q", "down")),
        ("lora_unet_conv.lora_mid.weight", ("lora_unet_conv", "mid")),
        ("lora_unet_a.alpha", ("lora_unet_a", "alpha")),
        ("lora_unet_a.dora_scale", ("lora_unet_a", "magnitude")),
        ("a.lora_magnitude_vector", ("a", "magnitude")),
        ("a.lora_magnitude_vector.weight", ("a", "magnitude")),
        ("a.lora_magnitude_vector.default.weight", ("a", "magnitude")),
        ("a.lokr_w1_a", ("a", "lokr_w1_a")),
        ("a.lokr_w1", ("a", "lokr_w1")),
        ("a.hada_t1", ("a", "hada_t1")),
        ("a.diff_b", ("a", "diff_bias")),
        ("a.w_norm", ("a", "diff")),
        ("a.oft_blocks", None),
        ("a.weight", None),
    ],
)
def test_keys(key: str, parsed: tuple[str, str] | None) -> None:
    assert parse_key(key) == parsed


def test_bundled_embeddings() -> None:
    assert bundled_embedding("bundle_emb.a.b.string_to_param.*") == "a.b"
    assert bundled_embedding("bundle_emb.word.clip_l") == "word"
    assert bundled_embedding("unet.bundle_emb") is None
