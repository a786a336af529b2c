"""Prompt embeddings: the text encoders' output for a prompt and the negative prompt, which the UNet attends to.

A prompt of several chunks is encoded chunk by chunk, and the hidden states are concatenated along the axis of tokens:
[1, 77 * chunks, d]. The negative prompt is one chunk, repeated as often: attention over n copies of the same keys and
values equals attention over one, so that the repetition changes nothing but the length.

SDXL also takes one pooled embedding, of one text. Beside chunks it is that of the condensed report, which holds site
and diagnosis: with the first chunk's, the starter generated images as if there were no other chunk (docs/prompts.md).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from generation.model.placement import Placement
    from generation.prompts.prompt import Encoded

_MOST_KEPT = 32  # prompts; an SDXL prompt takes 0.6 MB in float32


class PromptEmbeddings:
    """Encodes each prompt once for all its images. Not safe for threads by itself."""

    def __init__(self, pipe: Any, placement: Placement, device: str) -> None:
        self._pipe = pipe
        self._placement = placement
        self._device = device
        self._kept: OrderedDict[tuple[Encoded, str, bool], list[Any]] = OrderedDict()

    def rows(self, prompts: Sequence[Encoded], *, negative: str, guided: bool) -> list[torch.Tensor | None]:
        """The four tensors of diffusers' `encode_prompt`, one row for each of n prompts of equally many texts.

        They are hidden states float[n, 77 * texts, d] of the prompts and of the negative prompt, and pooled embeddings
        float[n, p] of both; those of the negative prompt are None if not `guided`. A prompt is encoded by itself, so
        that its numbers do not depend on the batch. Without a negative prompt the base's configuration decides what
        replaces it, as in diffusers (SDXL: zeros).
        """
        import torch

        keys = [(prompt, negative, guided) for prompt in prompts]
        missing = [key for key in dict.fromkeys(keys) if key not in self._kept]
        if missing:
            with torch.no_grad(), self._placement.holding("text_encoder", "text_encoder_2"):
                for key in missing:
                    self._kept[key] = self._encode(*key)
        for key in keys:
            self._kept.move_to_end(key)
        rows = [self._kept[key] for key in keys]
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return [None if column[0] is None else torch.cat(column) for column in zip(*rows, strict=True)]

    def _encode(self, prompt: Encoded, negative: str, guided: bool) -> list[Any]:
        count = len(prompt.texts)
        apart = [] if prompt.texts == (prompt.pooled,) else [prompt.pooled]
        hidden, no_hidden, pooled, no_pooled = self._pipe.encode_prompt(
            [*prompt.texts, *apart],
            device=self._device,
            do_classifier_free_guidance=guided,
            negative_prompt=negative or None,
        )
        return [
            None if states is None else states[:count].reshape(1, -1, states.shape[-1])
            for states in (hidden, no_hidden)
        ] + [None if rows is None else self.pool(rows) for rows in (pooled, no_pooled)]

    def forget(self) -> None:
        """Encode every prompt anew: the text encoders were changed."""
        self._kept.clear()

    @staticmethod
    def pool(rows: torch.Tensor) -> torch.Tensor:
        """Choose the pooled embedding [1, p] from [n, p]: those of the texts, and last that of the text to be pooled.

        `benchmarks.prompts` varies it.
        """
        return rows[-1:]
