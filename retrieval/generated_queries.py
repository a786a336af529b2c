"""Reports as queries by image: each becomes synthetic images, and these one vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrieval.encoder import Encoder, Progress
from retrieval.fusion import mean_query
from retrieval.vector_shelf import VectorShelf, shelf_key

if TYPE_CHECKING:
    from generation import CoinGenerator

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GenerationPlan:
    """How reports become images in an evaluation."""

    generator: CoinGenerator
    reports: int | None = None
    """Ask with this many reports, drawn at random; None: with all."""
    images: int = 4
    """For each report, with the seeds 0, 1 …"""
    preset: str = "draft"

    def words(self) -> str:
        """In words, for the record of an evaluation."""
        return f"{self.images} images a report, preset {self.preset}, weights {self.generator.fingerprint[:12]}"


def generated_queries(
    reports: Sequence[str],
    plan: GenerationPlan,
    encoder: Encoder,
    shelf: VectorShelf,
    *,
    progress: Progress | None = None,
) -> Vectors:
    """What each report asks by, float32[n, d]: the normalised mean of its images' vectors.

    Every image's vector is kept on the shelf as soon as it is made, by all that decides it: the report, the weights,
    the sampling, the seed and the encoder. What is there is not generated again. Reports are counted by `progress`,
    equal ones once.

    Raises what `CoinGenerator.generate_queue` and `Encoder.encode_images` raise; what was made before is kept.
    """
    keys = {report: [_key(report, seed, plan, encoder) for seed in range(plan.images)] for report in reports}
    waiting = {report: [s for s, key in enumerate(of) if key not in shelf] for report, of in keys.items()}
    missing = {report: seeds for report, seeds in waiting.items() if seeds}
    done = len(keys) - len(missing)
    if progress is not None and missing:
        progress(done, len(keys))
    # As one queue: batches are full also where a report has few images.
    queue = plan.generator.generate_queue(missing.items(), preset=plan.preset)
    for (report, seeds), drawn in zip(missing.items(), queue, strict=True):
        vectors = encoder.encode_images([made.image for made in drawn.images])
        shelf.put([keys[report][seed] for seed in seeds], vectors)
        done += 1
        if progress is not None:
            progress(done, len(keys))
    queries = {report: mean_query(shelf.take(of)) for report, of in keys.items()}
    return np.concatenate([np.empty((0, encoder.dim), dtype=np.float32), *(queries[report] for report in reports)])


def _key(report: str, seed: int, plan: GenerationPlan, encoder: Encoder) -> str:
    from generation import PRESETS

    generator, preset = plan.generator, PRESETS[plan.preset]
    return shelf_key(
        {
            "report": report,
            "prompt": generator.prompt(report).text,
            "seed": seed,
            "preset": [preset.steps, preset.guidance, preset.scheduler, sorted(preset.scheduler_options.items())],
            "weights": generator.fingerprint,
            "computed": [generator.device, str(generator.dtype)],
            "encoder": encoder.fingerprint,
        }
    )
