"""Contrastive losses of images, reports and findings, and the moving average of a module's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

UNLABELLED = -1
"""The label, or statement, of an image whose finding is unknown."""
PAIR_SCALE = 20.0
"""Inverse temperature of image against image."""
OTHER_VIEW = 2.5
"""Weight of an image's other view against all other images of its finding together."""
SMOOTHING = 0.1
"""Label smoothing against prototypes: neighbouring categories are not that certain."""


def pair_loss(rows: torch.Tensor, label: torch.Tensor, patient: torch.Tensor) -> torch.Tensor:
    """Supervised contrastive loss of images against images; a scalar.

    Matches of an image are its other view (the greater part of the target, which preserves the nearest neighbours
    under another stain) and the same finding in other patients. The same finding in the same patient counts neither as
    a match nor as a negative, since a neighbouring cell is no evidence; nor does an unlabelled image of that patient.

    Args:
        rows: unit rows float32[2n, d], the first views of n images and then the second ones.
        label, patient: int64[2n].
    """
    import torch

    number = torch.arange(len(rows), device=rows.device)
    itself = number[:, None] == number[None]
    other_view = (number[:, None] - number[None]).abs() == len(rows) // 2
    labelled = label != UNLABELLED
    both_labelled = labelled[:, None] & labelled[None]
    same_finding = (label[:, None] == label[None]) & both_labelled
    same_patient = patient[:, None] == patient[None]
    match = (same_finding & ~same_patient).float()
    match = match + OTHER_VIEW * other_view * match.sum(1, keepdim=True).clamp(min=1)
    ignored = (same_finding | ~both_labelled) & same_patient & ~other_view
    return _soft_cross_entropy((PAIR_SCALE * rows @ rows.T).masked_fill(itself | ignored, -1e4), match)


def report_loss(images: torch.Tensor, reports: torch.Tensor, statement: torch.Tensor) -> torch.Tensor:
    """Contrastive loss of images against reports, in both directions; a scalar.

    All reports of the same statement match an image; unlabelled images do not count.

    Args:
        images: unit rows times the logit scale, float32[2n, d], the first views of n images and then the second ones.
        reports: unit rows float32[n, d].
        statement: int64[n].
    """
    stated = statement != UNLABELLED
    both_stated = stated.repeat(2)[:, None] & stated[None]
    logits = (images @ reports.T).masked_fill(~both_stated, -1e4)
    match = ((statement.repeat(2)[:, None] == statement[None]) & both_stated).float()
    return (_soft_cross_entropy(logits, match) + _soft_cross_entropy(logits.T, match.T)) / 2


def finding_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Smoothed cross entropy of logits float32[n, findings] and labels int64[n]; unlabelled ones do not count."""
    import torch

    findings = logits.shape[1]
    target = (label[:, None] == torch.arange(findings, device=label.device)).float()
    smoothed = (1 - SMOOTHING) * target + SMOOTHING / findings * (label != UNLABELLED)[:, None]
    return _soft_cross_entropy(logits, smoothed)


def _soft_cross_entropy(logits: torch.Tensor, match: torch.Tensor) -> torch.Tensor:
    """Cross entropy of logits float32[n, m] against each row's matches in proportion to their weights float32[n, m].

    Rows without a match do not count.
    """
    total = match.sum(1)
    losses = -(match * logits.log_softmax(1)).sum(1) / total.clamp(min=1)
    return losses.sum() / (total > 0).sum().clamp(min=1)


def move_average(average: Any, module: Any, step: Any) -> None:
    """Move the average of a module towards it by the share `step` (0-d tensor); integers (batch counts) are copied."""
    import torch

    with torch.no_grad():
        both = list(zip(average.state_dict().values(), module.state_dict().values(), strict=True))
        kept, values = zip(*(pair for pair in both if pair[0].is_floating_point()), strict=True)
        torch._foreach_add_(kept, torch._foreach_mul(torch._foreach_sub(values, kept), step))
        for averaged, value in both:
            if not averaged.is_floating_point():
                averaged.copy_(value)
