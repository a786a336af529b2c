"""The losses of image training, against a count in plain loops over scalars."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from retrieval.training.losses import (
    OTHER_VIEW,
    PAIR_SCALE,
    SMOOTHING,
    UNLABELLED,
    finding_loss,
    move_average,
    pair_loss,
    report_loss,
)

IMAGES = 5
LABELS = [0, 0, 1, UNLABELLED, 0]
PATIENTS = [0, 0, 1, 1, 2]


def rows(seed: int, n: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def cross_entropy(row: dict[int, float], weights: dict[int, float]) -> float:
    """Of a row's logits, those that count, against the shares of its matches."""
    total = sum(math.exp(logit) for logit in row.values())
    return -sum(w * math.log(math.exp(row[j]) / total) for j, w in weights.items()) / sum(weights.values())


@pytest.mark.parametrize("seed", range(3))
def test_pairs(seed: int) -> None:
    """A view matches the other view and its finding in others; the rest of its finding or patient is ignored."""
    made, count = rows(seed, 2 * IMAGES), 2 * IMAGES
    label, patient = LABELS * 2, PATIENTS * 2
    losses = []
    for i in range(count):
        logits, weights = {}, {}
        alike = [j for j in range(count) if label[j] == label[i] != UNLABELLED and patient[j] != patient[i]]
        for j in range(count):
            other_view = abs(i - j) == IMAGES
            unclear = UNLABELLED in (label[i], label[j]) or label[i] == label[j]
            if i == j or (patient[i] == patient[j] and unclear and not other_view):
                continue
            logits[j] = PAIR_SCALE * float(made[i] @ made[j])
            if other_view:
                weights[j] = OTHER_VIEW * max(1, len(alike))
            elif j in alike:
                weights[j] = 1.0
        losses.append(cross_entropy(logits, weights))
    found = pair_loss(made, torch.tensor(label), torch.tensor(patient))
    assert float(found) == pytest.approx(float(np.mean(losses)), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_reports(seed: int) -> None:
    """Both directions; reports of one statement match all of its images, and what has no statement is not there."""
    images, reports = 3 * rows(seed, 2 * IMAGES), rows(seed + 10, IMAGES)
    stated = [i for i in range(IMAGES) if LABELS[i] != UNLABELLED]
    to_reports, to_images = [], []
    for i in (i for i in range(2 * IMAGES) if i % IMAGES in stated):
        logits = {j: float(images[i] @ reports[j]) for j in stated}
        to_reports.append(cross_entropy(logits, {j: 1.0 for j in stated if LABELS[j] == LABELS[i % IMAGES]}))
    for j in stated:
        seen = [i for i in range(2 * IMAGES) if i % IMAGES in stated]
        logits = {i: float(images[i] @ reports[j]) for i in seen}
        to_images.append(cross_entropy(logits, {i: 1.0 for i in seen if LABELS[j] == LABELS[i % IMAGES]}))
    found = report_loss(images, reports, torch.tensor(LABELS))
    assert float(found) == pytest.approx((np.mean(to_reports) + np.mean(to_images)) / 2, rel=1e-4)


def test_findings() -> None:
    logits = rows(1, IMAGES)
    losses = []
    for row, label in zip(logits.tolist(), LABELS, strict=True):
        if label != UNLABELLED:
            weights = {j: SMOOTHING / 4 + (1 - SMOOTHING) * (j == label) for j in range(4)}
            losses.append(cross_entropy(dict(enumerate(row)), weights))
    assert float(finding_loss(logits, torch.tensor(LABELS))) == pytest.approx(float(np.mean(losses)), rel=1e-4)
    alone = torch.tensor([LABELS[0], *[UNLABELLED] * (IMAGES - 1)])
    assert float(finding_loss(logits, alone)) == pytest.approx(losses[0], rel=1e-4)
    assert float(finding_loss(logits, torch.full((IMAGES,), UNLABELLED))) == 0


def test_an_average_moves_by_a_share_and_counts_are_copied() -> None:
    average, module = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    torch.nn.init.constant_(average.weight, 1.0)
    torch.nn.init.constant_(module.weight, 3.0)
    assert module.num_batches_tracked is not None
    module.num_batches_tracked.fill_(7)
    move_average(average, module, torch.tensor(0.25))
    assert average.weight.tolist() == [1.5, 1.5]
    assert module.weight.tolist() == [3.0, 3.0]
    assert int(average.num_batches_tracked) == 7
