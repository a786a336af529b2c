"""Settings that change what is drawn: long reports in chunks, the negative prompt, guidance, the glossary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from generation import CoinGenerator, GeneratedImage, GenerationCache, Preset, SettingsError, read_provenance
from generation.model.pipeline import CoinPipeline
from generation.prompts.prompt import Encoded

SHORT = "(Ascites) cytology did not find cancer cells."
LONG = (
    "(Thyroid right lobe nodule) The smear shows follicular epithelium arranged in sheets. "
    + "The nuclei are enlarged, elongated, crowded, overlapping and grooved. " * 3
    + "The lesion is considered to be papillary thyroid carcinoma."
)
QUICK = Preset("quick", steps=2, guidance=7.5)
STEPS = 2


@pytest.fixture(scope="module")
def chunking(base: Path, lora: Path) -> CoinGenerator:
    return CoinGenerator(base, lora, device="cpu", long_reports="chunk")


def pixels(image: GeneratedImage) -> np.ndarray:
    return np.asarray(image.image, dtype=np.int16)


def difference(one: GeneratedImage, other: GeneratedImage) -> float:
    return float(np.abs(pixels(one) - pixels(other)).mean())


@pytest.mark.slow
def test_chunks_are_generated_and_reported_in_the_provenance(base: Path, lora: Path, chunking: CoinGenerator) -> None:
    made = chunking.generate(LONG, n=1, preset=QUICK)
    condensed = CoinGenerator(base, lora, device="cpu").generate(LONG, n=1, preset=QUICK)
    assert (made.prompt.text, made.prompt.dropped) == (" ".join(LONG.split()), ())
    told = made.images[0].provenance
    assert (told.reading, told.chunks, told.prompt) == ("chunked", len(made.prompt.chunks), made.prompt.text)
    assert told.chunks > 1
    assert condensed.prompt.dropped
    assert (condensed.images[0].provenance.reading, condensed.images[0].provenance.chunks) == ("condensed", 1)
    assert difference(made.images[0], condensed.images[0]) > 0.1


def test_what_stands_in_the_last_chunk_is_generated(chunking: CoinGenerator) -> None:
    """Truncation would draw the same image of both."""
    other = LONG.replace("papillary thyroid carcinoma", "a benign follicular nodule")
    first, second = (chunking.generate(report, n=1, preset=QUICK).images[0] for report in (LONG, other))
    assert not np.array_equal(pixels(first), pixels(second))


def test_a_short_report_is_the_same_image_either_way(base: Path, lora: Path, chunking: CoinGenerator) -> None:
    made, other = (
        one.generate(SHORT, n=1, preset=QUICK).images[0] for one in (chunking, CoinGenerator(base, lora, device="cpu"))
    )
    assert made.image.tobytes() == other.image.tobytes()
    assert made.provenance.reading == other.provenance.reading == "whole"


@pytest.mark.parametrize("negative", ["", "blurred"])
def test_the_same_chunk_twice_is_that_chunk_once(chunking: CoinGenerator, negative: str) -> None:
    """Attention over the same keys n times over is attention over them once: the negative prompt is repeated so."""
    pipeline = chunking._pipeline()
    assert isinstance(pipeline, CoinPipeline)

    def draw(chunks: tuple[str, ...]) -> np.ndarray:
        [image] = pipeline.generate(
            [Encoded(chunks, SHORT)], [3], preset=QUICK, size=64, on_step=lambda done: None, negative_prompt=negative
        )
        return np.asarray(image, dtype=np.int16)

    assert np.abs(draw((SHORT,)) - draw((SHORT, SHORT, SHORT))).max() <= 1


def test_embeddings_stand_one_behind_the_other(chunking: CoinGenerator) -> None:
    prompt = chunking.prompt(LONG)
    embeddings = chunking._pipeline()._embeddings

    def rows(encoded: Encoded) -> list[torch.Tensor]:
        return [row for row in embeddings.rows([encoded], negative="blurred", guided=True) if row is not None]

    hidden, no_hidden, pooled, no_pooled = rows(prompt.encoded)
    assert hidden.shape[1] == no_hidden.shape[1] == 77 * len(prompt.chunks)
    for place, chunk in enumerate(prompt.chunks):
        part, no_part, _, _ = rows(Encoded((chunk,), chunk))
        for tensor, of_part in ((hidden, part), (no_hidden, no_part)):
            torch.testing.assert_close(tensor[:, 77 * place : 77 * (place + 1)], of_part, atol=1e-5, rtol=1e-4)
    _, _, condensed, no_condensed = rows(Encoded((prompt.summary,), prompt.summary))
    torch.testing.assert_close(pooled, condensed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(no_pooled, no_condensed, atol=1e-5, rtol=1e-4)
    assert embeddings.rows([prompt.encoded], negative="", guided=False)[1] is None


@pytest.mark.slow
def test_reports_of_different_lengths_share_a_queue_and_never_a_batch(
    chunking: CoinGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    draw = CoinPipeline.generate

    def watch(self, prompts, seeds, **more):  # type: ignore[no-untyped-def]
        seen.append({len(prompt.texts) for prompt in prompts})
        return draw(self, prompts, seeds, **more)

    monkeypatch.setattr(CoinPipeline, "generate", watch)
    reports = [SHORT, LONG, SHORT + " Urine.", LONG + " Colloid.", LONG + " Blood."]
    made = list(chunking.generate_queue([(report, [5]) for report in reports], preset=QUICK, batch_size=2))
    assert [one.report for one in made] == reports
    assert all(len(lengths) == 1 for lengths in seen)
    assert len(seen) == 3  # two short ones together, two long ones together, and the last
    for one in made:
        alone = chunking.generate(one.report, seeds=[5], preset=QUICK, batch_size=1)
        assert np.abs(pixels(one.images[0]) - pixels(alone.images[0])).max() <= 1


def test_a_queue_of_mixed_lengths_holds_few_reports_back(base: Path, lora: Path, tmp_path: Path) -> None:
    generator = CoinGenerator(base, lora, device="cpu", cache=GenerationCache(tmp_path), long_reports="chunk")
    generator.generate(SHORT, seeds=[0], preset=QUICK)
    queue = generator.generate_queue([(LONG, [3]), *[(SHORT, [0])] * 40], preset=QUICK, batch_size=4)
    assert not next(queue).images[0].cached
    assert len(list(queue)) == 40


class TestNegativePromptAndGuidance:
    @pytest.mark.slow
    def test_a_negative_prompt_changes_the_image_and_is_reported(self, base: Path, lora: Path, tmp_path: Path) -> None:
        cache = GenerationCache(tmp_path)
        plain = CoinGenerator(base, lora, device="cpu", cache=cache).generate(SHORT, n=1, preset=QUICK).images[0]
        other = CoinGenerator(base, lora, device="cpu", cache=cache, negative_prompt=" blurred\n text ")
        made = other.generate(SHORT, n=1, preset=QUICK).images[0]
        assert not made.cached
        assert difference(plain, made) > 0.1
        assert made.path is not None
        told = read_provenance(made.path)
        assert told is not None
        assert (told.negative_prompt, plain.provenance.negative_prompt) == ("blurred text", "")
        assert other.generate(SHORT, n=1, preset=QUICK).images[0].cached

    def test_it_is_what_diffusers_draws(self, base: Path) -> None:
        from diffusers import DiffusionPipeline

        published = DiffusionPipeline.from_pretrained(base, use_safetensors=True)
        published.set_progress_bar_config(disable=True)
        noise = torch.Generator().manual_seed(5)
        expected = published(
            SHORT, negative_prompt="blurred", num_inference_steps=STEPS, guidance_scale=7.5, generator=noise
        ).images[0]
        ours = CoinGenerator(base, device="cpu", negative_prompt="blurred").generate(SHORT, seeds=[5], preset=QUICK)
        assert ours.images[0].image.tobytes() == expected.tobytes()

    def test_one_that_is_too_long_or_cannot_work_is_refused(self, base: Path) -> None:
        with pytest.raises(SettingsError, match=r"negative prompt takes \d+ tokens.*shorten it"):
            CoinGenerator(base, device="cpu", negative_prompt="blurred " * 80).generate(SHORT, n=1, preset=QUICK)
        with pytest.raises(SettingsError, match="works through guidance above 1"):
            CoinGenerator(base, device="cpu", negative_prompt="blurred", guidance=1).generate(SHORT, n=1, preset=QUICK)

    @pytest.mark.slow
    def test_guidance_takes_the_place_of_the_presets(self, base: Path, lora: Path) -> None:
        generator = CoinGenerator(base, lora, device="cpu", guidance=2.5)
        image = generator.generate(SHORT, n=1, preset=QUICK).images[0]
        direct = Preset("quick", steps=2, guidance=2.5)
        same = CoinGenerator(base, lora, device="cpu").generate(SHORT, n=1, preset=direct).images[0]
        assert image.image.tobytes() == same.image.tobytes()
        assert (image.provenance.preset, image.provenance.guidance) == ("quick", 2.5)
        with pytest.raises(SettingsError, match="cannot be negative"):
            CoinGenerator(base, device="cpu", guidance=-1).generate(SHORT, n=1, preset=QUICK)
        assert generator.sampling("reference").guidance == 2.5


def test_the_glossary_is_used_where_it_is_wanted(base: Path) -> None:
    report = "NILM. Cue cells >20%."
    with_it = CoinGenerator(base, device="cpu", glossary=True).generate(report, n=1, preset=QUICK)
    without = CoinGenerator(base, device="cpu").generate(report, n=1, preset=QUICK)
    assert (with_it.prompt.text, without.prompt.text) == ("NILM. Clue cells >20%.", report)
    assert with_it.images[0].provenance.replaced == "“Cue cells” → “Clue cells”"
    assert without.images[0].provenance.replaced == ""
    assert with_it.images[0].provenance.report_sha256 == without.images[0].provenance.report_sha256


def test_an_unknown_way_to_read_long_reports_is_refused() -> None:
    with pytest.raises(SettingsError, match="'shorten'"):
        CoinGenerator(long_reports="shorten")  # type: ignore[arg-type]
