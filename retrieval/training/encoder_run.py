"""The steps of an encoder's fine-tuning, in one of several processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from generation.training.data.pairs import TrainingPair
from generation.training.data.step_sampling import items_of_step
from generation.training.training_run import TrainingRun, gather
from retrieval.training.encoder_settings import EncoderSettings
from retrieval.training.image_augmentation import two_views
from retrieval.training.losses import report_loss
from retrieval.training.pixel_store import PixelStore
from retrieval.training.trainable_clip import TrainableClip

if TYPE_CHECKING:
    import torch

BATCH = 64
"""Images that are embedded at once outside of training steps."""


class EncoderRun(TrainingRun):
    """Trains an encoder on `training`; `measured` are the held-out pairs whose loss is reported.

    Of several processes each embeds its part of a step and of the measured pairs, and compares it with all others'.

    Args:
        process: the number of this one, and how many there are.
    """

    def __init__(
        self,
        folder: Path,
        settings: EncoderSettings,
        clip: TrainableClip,
        store: PixelStore,
        training: Sequence[TrainingPair],
        measured: Sequence[TrainingPair],
        *,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        import torch

        self._settings, self._clip, self._process = settings, clip, process
        self._training, self._measured = _Batches(training, clip, store), _Batches(measured, clip, store)
        weights = clip.trained
        matrices = {name: value for name, value in weights.items() if value.ndim > 1}
        others = {name: value for name, value in weights.items() if value.ndim <= 1}
        optimizer = torch.optim.AdamW(
            [
                {"params": list(matrices.values()), "weight_decay": settings.weight_decay},
                {"params": list(others.values()), "weight_decay": 0.0},
            ],
            settings.peak_rate,
        )
        everything = sum(value.numel() for value in clip.network.parameters())
        self.trained_share = sum(value.numel() for value in weights.values()) / everything
        """The share of the parameters that are trained; a LoRA's own count among them."""
        super().__init__(
            folder, settings, weights, optimizer, optimizer_names=[*matrices, *others], is_main=process[0] == 0
        )

    def backward(self) -> float:
        """The contrastive loss of the step's batch; computes its gradients."""
        import torch

        settings, clip, (number, processes) = self._settings, self._clip, self._process
        count = min(settings.batch_size * processes, len(self._training)) // processes * processes
        items = items_of_step(self.step, items=len(self._training), count=count, seed=settings.seed)
        pixels, tokens, which, statement = self._training.take(items)
        clip.train()
        # All of it is augmented, which costs little beside the towers: so the views are those of one process.
        views = two_views(pixels, self._generator(), pixels.shape[-1]).clamp(0, 1)
        own = torch.arange(count, device=pixels.device).view(processes, -1)[number]
        seen = clip.scale * clip.embed_images(views[torch.cat([own, own + count])])
        texts, back = torch.unique(which[own], return_inverse=True)
        first, second, read = map(self._of_all, (*seen.split(len(own)), clip.embed_texts(tokens[texts])[back]))
        loss = report_loss(torch.cat([first, second]), read, statement)
        loss.backward()
        self._sum_gradients()
        return float(loss.detach())

    def _of_all(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows float32[n, d] of every process, [processes * n, d]; gradients flow to this one's."""
        import torch
        from accelerate.utils import gather as gather_rows

        number, processes = self._process
        if processes == 1:
            return rows
        parts = list(gather_rows(rows.detach().contiguous()).split(len(rows)))
        parts[number] = rows
        return torch.cat(parts)

    def _sum_gradients(self) -> None:
        """Each process has the gradients through its own rows; their sum is that of the whole step."""
        import torch
        from accelerate.utils import reduce

        if self._process[1] == 1:
            return
        with torch.no_grad():
            for parameter in self.weights.values():
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = reduce(own, "sum")

    def validate(self) -> float:
        """The loss of the measured pairs without augmentation, all as one batch, of which each process embeds some."""
        import torch

        clip = self._clip
        clip.network.eval()
        own = []
        with torch.no_grad():
            starts = range(0, len(self._measured), BATCH)
            for start in starts[self._process[0] :: self._process[1]]:
                items = np.arange(start, min(start + BATCH, len(self._measured)))
                pixels, tokens, which, statement = self._measured.take(items)
                part = clip.embed_images(pixels), clip.embed_texts(tokens)[which], statement
                own.append((start, [rows.cpu() for rows in part]))
            parts = [rows for _, rows in sorted(gather(own), key=lambda part: part[0])]
            seen, read, statements = (torch.cat(column).to(clip.device) for column in zip(*parts, strict=True))
            rows = clip.scale * seen
            return float(report_loss(torch.cat([rows, rows]), read, statements))

    def _generator(self) -> torch.Generator:
        """The random generator of this step's augmentation."""
        import torch

        seed = int(np.random.default_rng([self._settings.seed, 1, self.step]).integers(2**62))
        return torch.Generator(self._clip.device).manual_seed(seed)


class _Batches:
    """Batches of pairs; every different report is tokenized once."""

    def __init__(self, pairs: Sequence[TrainingPair], clip: TrainableClip, store: PixelStore) -> None:
        import torch

        reports = {text: number for number, text in enumerate(dict.fromkeys(pair.report for pair in pairs))}
        self._statement = torch.tensor([reports[pair.report] for pair in pairs], device=clip.device)
        self._tokens = clip.tokenize(list(reports))
        self._pairs, self._store, self._device = pairs, store, clip.device

    def __len__(self) -> int:
        return len(self._pairs)

    def take(self, items: np.ndarray) -> tuple[Any, Any, Any, Any]:
        """The pairs `items` int[n] as four tensors.

        Pixels float32[n, 3, h, w] in 0…1; tokens int[m, context] of the m different reports; which of them belongs to
        each image, int[n]; and its number among all reports, int[n].
        """
        import torch

        pixels = torch.from_numpy(self._store.pixels([self._pairs[item] for item in items.tolist()]))
        pixels = pixels.to(self._device).float() / 255
        statement = self._statement[torch.from_numpy(items).to(self._device)]
        different, which = torch.unique(statement, return_inverse=True)
        return pixels, self._tokens[different], which, statement
