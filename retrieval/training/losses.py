"""Contrastive losses of images, reports and findings, and the moving average of a module's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def pair_loss(seen: torch.Tensor, label: torch.Tensor, patient: torch.Tensor) -> torch.Tensor:
    """Supervised contrast of unit rows float32[2n, d], the two views of n images one after the other.

    An image is to be found by its other view (the greater part of the target, which keeps neighbours in place under
    another stain) and by the same finding in other patients. The same finding in the same patient is neither wanted nor
    unwanted: a neighbouring cell is no evidence. Nor is an image of the same patient of which nobody said what it
    shows.
    """
    import torch

    places = torch.arange(len(seen), device=seen.device)
    itself = places[:, None] == places[None]
    other_view = (places[:, None] - places[None]).abs() == len(seen) // 2
    said = label != UNSAID
    both_said = said[:, None] & said[None]
    alike, own = (label[:, None] == label[None]) & both_said, patient[:, None] == patient[None]
    match = (alike & ~own).float()
    match = match + OTHER_VIEW * other_view * match.sum(1, keepdim=True).clamp(min=1)
    neither = (alike | ~both_said) & own & ~other_view
    return _soft_cross_entropy((PAIR_SCALE * seen @ seen.T).masked_fill(itself | neither, -1e4), match)


def report_loss(seen: torch.Tensor, read: torch.Tensor, statement: torch.Tensor) -> torch.Tensor:
    """Contrast of scaled rows float32[2n, d], both views of n images, and their reports' unit rows float32[n, d], both
    ways: all reports of the same statement match an image. Images without a report do not count."""
    said = statement != UNSAID
    both_said = said.repeat(2)[:, None] & said[None]
    logits = (seen @ read.T).masked_fill(~both_said, -1e4)
    match = ((statement.repeat(2)[:, None] == statement[None]) & both_said).float()
    return (_soft_cross_entropy(logits, match) + _soft_cross_entropy(logits.T, match.T)) / 2


def finding_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits float32[n, findings] against labels int64[n], smoothed; UNSAID ones do not count."""
    import torch

    findings = logits.shape[1]
    target = (label[:, None] == torch.arange(findings, device=label.device)).float()
    smoothed = (1 - SMOOTHING) * target + SMOOTHING / findings * (label != UNSAID)[:, None]
    return _soft_cross_entropy(logits, smoothed)


def _soft_cross_entropy(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Cross entropy against each row's matches, in proportion to their numbers; rows without one do not count."""
    total = match.sum(1)
    losses = -(match * logits.log_softmax(1)).sum(1) / total.clamp(min=1)
    return losses.sum() / (total > 0).sum().clamp(min=1)


def move(average: Any, module: Any, step: Any) -> None:
    """Move the average of a module towards it, by `step` (0-d tensor) of the way; what is no floating-point number
    (counts of batches) is taken over."""
    import torch

    with torch.no_grad():
        both = list(zip(average.state_dict().values(), module.state_dict().values(), strict=True))
        kept, values = zip(*(pair for pair in both if pair[0].is_floating_point()), strict=True)
        torch._foreach_add_(kept, torch._foreach_mul(torch._foreach_sub(values, kept), step))
        for counted, count in both:
            if not counted.is_floating_point():
                counted.copy_(count)


PAIR_SCALE = 20.0  # inverse temperature of image against image


OTHER_VIEW = 2.5  # weight of an image's other view against all other images of its finding together


SMOOTHING = 0.1  # of the prototypes' targets: neighbouring categories are not that sure


UNSAID = -1
"""The label of an image of which nobody said what it shows."""
