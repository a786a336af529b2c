"""Generated images in words: the prompt, what it leaves out of the report, and a line an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ui.image_labels import SYNTHETIC
from ui.text.layout import clean, wrapped

if TYPE_CHECKING:
    from generation import GeneratedImage, Generation, Prompt
    from retrieval import GeneratedQuery


def generated_text(generated: GeneratedQuery) -> str:
    """The images generated for a query, and those that show the wrong site or nearly copy a reference."""
    lines = [generation_text(generated.generation)]
    for check in generated.images:
        if check.verdict == "wrong":
            fate = "kept" if check.used else "dropped"
            lines.append(
                clean(
                    f"  seed {check.seed}, attempt {check.attempt}: {fate}; it shows {check.shown_site}, not "
                    f"{check.asked_site}"
                )
            )
        if check.near_copy:
            lines.append(clean(f"  seed {check.seed}: NEAR COPY of a reference image, case {check.nearest_case_key}"))
    return "\n".join(lines)


def generation_text(generation: Generation) -> str:
    """Generated images: the prompt, what it leaves out of the report, and a line an image."""
    prompt = generation.prompt
    lines = [
        f"{SYNTHETIC}: {len(generation.images)} generated images in {generation.seconds:.1f} s",
        wrapped(f"prompt ({prompt_length(prompt)}): {prompt.text}"),
        *(wrapped(note) for note in prompt_notes(prompt)),
    ]
    if negative := generation.images[0].provenance.negative_prompt if generation.images else "":
        lines.append(wrapped(f"negative prompt: {negative}"))
    lines += [f"  {_image_line(image)}" for image in generation.images]
    return "\n".join(lines)


def prompt_length(prompt: Prompt) -> str:
    """How many of the text encoders' tokens a prompt takes."""
    length = f"{prompt.tokens} of {prompt.limit} tokens"
    return f"{length}, in {len(prompt.chunks)} chunks" if prompt.chunks else length


def prompt_notes(prompt: Prompt) -> list[str]:
    """What the prompt leaves out of the report, and what the glossary replaced."""
    notes = []
    if prompt.dropped:
        notes.append(f"left out of the prompt: {' | '.join(prompt.dropped)}")
    elif prompt.chunks:
        notes.append(f"the report was read in {len(prompt.chunks)} chunks; nothing was left out of the prompt")
    if prompt.replaced:
        notes.append(f"replaced by the glossary: {'; '.join(map(str, prompt.replaced))}")
    return notes


def _image_line(image: GeneratedImage) -> str:
    provenance = image.provenance
    where = f"  {image.path}" if image.path is not None else ""
    return clean(
        f"seed {provenance.seed}, {provenance.preset}, {provenance.steps} steps, guidance {provenance.guidance}{where}"
    )
