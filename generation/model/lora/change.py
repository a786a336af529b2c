"""What a LoRA adds to the weight of one layer, computed in float32.

    LoRA    up @ down                               arXiv 2106.09685
    LoCon   the same for convolutions; with `mid`, Tucker's decomposition of the kernel
    LoHa    (w1_a @ w1_b) * (w2_a @ w2_b)           arXiv 2108.06098
    LoKr    kron(w1, w2), either of which may be a product      arXiv 2309.14859
    DoRA    the changed weight, each of its rows (or columns) brought to a learned length     arXiv 2402.09353

Names and scaling are those of peft and LyCORIS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Sizes = Mapping[str, tuple[int, ...]]
"""The shapes of the tensors of one layer by their role."""


_KINDS = (
    frozenset({"diff"}),
    frozenset({"down", "up", "mid"}),
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}),
    frozenset({"lokr_w1", "lokr_w2", "lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"}),
)
"""Roles of the tensors of each kind of change."""


def misfit(sizes: Sizes, weight: tuple[int, ...]) -> str:
    """The role of a tensor beside the change itself whose shape does not fit a weight; "" where all do."""
    for role, size in sizes.items():
        count = math.prod(size)
        if role in ("alpha", "scalar") and count != 1:
            return role
        if role in ("up_bias", "diff_bias") and size != (weight[0],):
            return role
        if role == "magnitude" and (len(size) == 0 or count not in (weight[0], *weight[1:2])):
            return role
    for factor in ("lokr_w1", "lokr_w2"):
        if factor in sizes and f"{factor}_a" in sizes:
            return factor
    return ""


def changed_size(sizes: Sizes) -> tuple[int, int] | None:
    """Rows and columns (all further dimensions together) of the change; None for tensors that do not go together."""
    if sum(not kind.isdisjoint(sizes) for kind in _KINDS) > 1 or any(0 in size for size in sizes.values()):
        return None  # one of the changes would be left out silently
    try:
        if "diff" in sizes:
            return sizes["diff"][0], math.prod(sizes["diff"][1:])
        if "hada_w1_a" in sizes:
            return _hada_size(sizes)
        if "lokr_w1" in sizes or "lokr_w1_a" in sizes:
            (first, second), (third, fourth) = (_kron_size(sizes, which) for which in ("lokr_w1", "lokr_w2"))
            return first * third, second * fourth
        down, up = sizes["down"], sizes["up"]
        if "mid" in sizes:
            mid = sizes["mid"]
            return (up[0], down[1] * math.prod(mid[2:])) if (up[1], down[0]) == mid[:2] else None
        return (up[0], math.prod(down[1:])) if up[1] == down[0] else None
    except (KeyError, IndexError, ValueError):
        return None


def rank(sizes: Sizes) -> int | None:
    """The rank that `alpha` is divided by; None where there is none, and the strength is then 1."""
    for role in ("down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b"):
        if role in sizes:
            return sizes[role][0]
    return None


def delta(tensors: Mapping[str, torch.Tensor], strength: float, shape: tuple[int, ...]) -> torch.Tensor:
    """The change of a weight of `shape`, from tensors in float32."""
    if "diff" in tensors:
        return tensors["diff"].reshape(shape)
    if "hada_w1_a" in tensors:
        change = _hada(tensors, 1) * _hada(tensors, 2)
    elif "lokr_w1" in tensors or "lokr_w1_a" in tensors:
        change = _kron(tensors, shape)
    else:
        change = _low_rank(tensors)
    change = change.reshape(shape)
    if strength != 1:
        change = change * strength
    return change * tensors["scalar"] if "scalar" in tensors else change


def with_magnitude(weight: torch.Tensor, magnitude: torch.Tensor) -> torch.Tensor:
    """DoRA: `weight` with each output's row (or, for a magnitude [1, n], each input's column) of that length."""
    import torch

    rows = magnitude.dim() == 1 or magnitude.shape[0] == weight.shape[0]
    if magnitude.dim() == weight.dim() == 4 and magnitude.shape[:2] == (1, weight.shape[0]):
        rows = True  # peft's layout for convolutions: [1, out, 1, 1]
    axis = 0 if rows else 1
    others = [dimension for dimension in range(weight.dim()) if dimension != axis]
    lengths = torch.linalg.vector_norm(weight, dim=others, keepdim=True)
    return weight * (magnitude.reshape(lengths.shape) / lengths)


def _low_rank(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    import torch

    up, down = tensors["up"].flatten(1), tensors["down"].flatten(1)
    if "mid" in tensors:
        return torch.einsum("ij...,pi,jr->pr...", tensors["mid"], up, down)
    return up @ down


def _hada(tensors: Mapping[str, torch.Tensor], which: int) -> torch.Tensor:
    import torch

    first, second = tensors[f"hada_w{which}_a"], tensors[f"hada_w{which}_b"]
    if f"hada_t{which}" in tensors:
        return torch.einsum("ij...,jr,ip->pr...", tensors[f"hada_t{which}"], second, first)
    return first @ second.flatten(1)


def _kron(tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    def factor(name: str) -> torch.Tensor:
        if name in tensors:
            return tensors[name]
        first, second = tensors[f"{name}_a"], tensors[f"{name}_b"]
        if "lokr_t2" in tensors and name == "lokr_w2":
            return torch.einsum("ij...,jr,ip->pr...", tensors["lokr_t2"], second, first)
        return (first @ second.flatten(1)).reshape(first.shape[0], *second.shape[1:])

    left, right = factor("lokr_w1"), factor("lokr_w2")
    if len(shape) > right.dim():  # a kernel whose dimensions were flattened into the columns
        right = right.reshape(right.shape[0], -1, *shape[2:])
    return torch.kron(left.reshape(*left.shape, *[1] * (right.dim() - left.dim())), right.contiguous())


def _hada_size(sizes: Sizes) -> tuple[int, int] | None:
    found = []
    for which in (1, 2):
        first, second = sizes[f"hada_w{which}_a"], sizes[f"hada_w{which}_b"]
        if f"hada_t{which}" in sizes:
            core = sizes[f"hada_t{which}"]
            fits = (first[0], second[0]) == core[:2]
            found.append((first[1], second[1] * math.prod(core[2:])) if fits else None)
        else:
            found.append((first[0], math.prod(second[1:])) if first[1] == second[0] else None)
    return found[0] if found[0] == found[1] else None


def _kron_size(sizes: Sizes, name: str) -> tuple[int, int]:
    if name in sizes:
        return sizes[name][0], math.prod(sizes[name][1:])
    first, second = sizes[f"{name}_a"], sizes[f"{name}_b"]
    if "lokr_t2" in sizes and name == "lokr_w2":
        core = sizes["lokr_t2"]
        if (first[0], second[0]) != core[:2]:
            raise ValueError
        return first[1], second[1] * math.prod(core[2:])
    if first[1] != second[0]:
        raise ValueError
    return first[0], math.prod(second[1:])
