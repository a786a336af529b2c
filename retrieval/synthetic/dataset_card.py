"""The card of a synthetic set: a README that a person reads and Hugging Face's hub understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.generated.near_duplicate import HASH_BITS, NEAR_COPY_BITS
from retrieval.notice import RESEARCH_USE

if TYPE_CHECKING:
    from retrieval.synthetic.dataset import SyntheticSet
    from retrieval.synthetic.memorisation import CopyReport
    from retrieval.synthetic.plan import SetSummary


def card_text(made: SyntheticSet, summary: SetSummary, copies: CopyReport | None = None) -> str:
    """Markdown with the hub's YAML head, and what a copy check found where there was one. Holds names of classes and
    of weights, no report and no name of a reference."""
    name, steps, guidance, scheduler, _ = made.recipe["sampling"]
    classes = "\n".join(f"| {folder.replace('|', '/')} | {count} |" for folder, count in summary.classes.items())
    return f"""---
license: other
pretty_name: Synthetic cytology images
task_categories:
- image-classification
- text-to-image
tags:
- synthetic
- cytology
- medical
size_categories:
- {_size_category(summary.images)}
configs:
- config_name: default
  data_files:
  - split: train
    path: train/**
---

# Synthetic cytology images

**{RESEARCH_USE}** Every image here was generated from report text and shows no patient. None was validated by
anybody: an image need not show what its report says.

| what | |
|---|---|
| images | {summary.images} |
| reports | {summary.reports} rows, {summary.distinct_reports} different |
| images a report | {made.per_report} |
| size | {made.recipe["size"]} × {made.recipe["size"]} px, PNG, provenance in every file |
| base | {made.recipe["base"]}, fingerprint {made.recipe["base_fingerprint"][:16]} |
| LoRA | {_lora(made)} |
| sampling | preset {name}: {steps} steps, guidance {guidance:g}, {scheduler or "the base's own scheduler"} |
| prompts | long reports: {made.recipe["long_reports"]}; negative prompt: \
{made.recipe["negative_prompt"].replace("|", "/") or "none"}; glossary: {"yes" if made.recipe["glossary"] else "no"} |
| exact duplicates | {summary.exact_duplicates}, dropped |
| near duplicates | {summary.near_duplicates}, kept and marked (`near_duplicate_of`): at most {NEAR_COPY_BITS} of \
{HASH_BITS} bits of a perceptual hash apart |

![Some images of each class](contact-sheet.png)

| class | images |
|---|---|
{classes}

## To load

    torchvision.datasets.ImageFolder("train")               # a class a folder
    datasets.load_dataset("imagefolder", data_dir=".")      # image and every column

`train/metadata.jsonl` and `manifest.csv` hold the reports' text and every further column of the table that this was
drawn from: **share them as you would share those.** The images hold their prompts, which are the reports or extracts of
them. An archive refuses these images: what a search finds must be a case.

## What is not known

Diffusion models can reproduce images that they were trained on. Nothing here says that these images are private.
{_copies(copies)} The weights' licences apply.
"""


def _copies(copies: CopyReport | None) -> str:
    if copies is None:
        return "`coin copy-check` measures how near they lie to a training set that you name."
    said = (
        f"Compared with {copies.references} images of {copies.patients} patients: {len(copies.near_copies)} of "
        f"{copies.images} are near copies (perceptual hash)"
    )
    if copies.nearer_than_baseline_95 is None:
        return f"{said}."
    return (
        f"{said}, and {copies.nearer_than_baseline_95:.1%} lie nearer to one of them than 95 % of them lie to another "
        "patient's (encoder's space; 5 % were they alike). `copy-report.json` names files of that set: leave it out "
        "where you share these images."
    )


def _lora(made: SyntheticSet) -> str:
    if not made.recipe["lora"]:
        return "none"
    fingerprints = " + ".join(one[:16] for one in made.recipe["lora_fingerprint"].split(" + "))
    return f"{made.recipe['lora']}, fingerprint {fingerprints}"


def _size_category(images: int) -> str:
    """As the hub names them."""
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if images < limit:
            return name
    return "1M<n<10M"
