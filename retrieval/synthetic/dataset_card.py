"""The dataset card of a synthetic set: a README that a person reads and Hugging Face's hub understands.

The text is a Jinja2 template beside this module. Its YAML head holds constants and one of the hub's size categories.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from retrieval.copies.picture_hash import HASH_BITS, NEAR_COPY_BITS
from retrieval.notice import RESEARCH_USE

if TYPE_CHECKING:
    from retrieval.synthetic.copy_report import CopyReport
    from retrieval.synthetic.dataset import SyntheticSet
    from retrieval.synthetic.plan import SetSummary

TEMPLATE: Final = Path(__file__).with_name("dataset_card.md.jinja")


def card_text(made: SyntheticSet, summary: SetSummary, copies: CopyReport | None = None) -> str:
    """Markdown with the hub's YAML head, and the results of a copy check where there was one.

    It holds names of classes and of weights, no report and no name of a reference.
    """
    import jinja2

    # Markdown and not HTML: escaping would show "&lt;" for "<".
    environment = jinja2.Environment(
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    preset, steps, guidance, scheduler, _ = made.recipe["sampling"]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        notice=RESEARCH_USE,
        size_category=_size_category(summary.images),
        summary=summary,
        copies=copies,
        per_report=made.per_report,
        recipe=made.recipe,
        lora_fingerprints=[fingerprint[:16] for fingerprint in made.recipe["lora_fingerprint"].split(" + ")],
        preset=preset,
        steps=steps,
        guidance=f"{guidance:g}",
        scheduler=scheduler,
        near_copy_bits=NEAR_COPY_BITS,
        hash_bits=HASH_BITS,
    )


def _cell(text: str) -> str:
    """Text that stays within its cell of a Markdown table."""
    return " ".join(text.replace("|", "/").split())


def _size_category(images: int) -> str:
    """A number of images as the hub's size category."""
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if images < limit:
            return name
    return "1M<n<10M"
