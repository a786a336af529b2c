"""What is done to a report on its way to the encoders can be set, and is shown with the prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from generation import Generation, Prompt, Replacement
from tests.ui.conftest import coin
from ui.errors import SettingError
from ui.settings import Settings
from ui.text.generation import generation_text

LONG = (
    "(Urine) smear shows single cells, large, with dark nuclei, scant cytoplasm and debris. " * 6 + "Diagnosis: HGUC."
)
QUICK = ("--n-images", "1", "--size", "64", "--json")


def generated(out: Path, *options: str) -> tuple[dict, dict]:
    """The prompt and the first image's provenance."""
    result = coin("generate", "--out", out, *QUICK, *options)
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    return made["prompt"], made["images"][0]["provenance"]


@pytest.mark.slow
def test_chunks_read_all_of_a_long_report(environment: dict[str, str], tmp_path: Path) -> None:
    prompt, provenance = generated(tmp_path, "--text", LONG, "--long-reports", "chunk")
    assert (prompt["dropped"], provenance["reading"]) == ([], "chunked")
    assert len(prompt["chunks"]) == provenance["chunks"] > 1
    prompt, provenance = generated(tmp_path, "--text", LONG)
    assert prompt["dropped"]
    assert (prompt["chunks"], provenance["reading"]) == ([], "condensed")


@pytest.mark.slow
def test_the_glossary_negative_prompt_and_guidance_are_in_the_provenance(
    environment: dict[str, str], tmp_path: Path
) -> None:
    asked = ("--text", "NILM. Cue cells >20%.", "--negative-prompt", "blurred", "--guidance", "2.5")
    prompt, provenance = generated(tmp_path, *asked, "--glossary", "yes")
    assert prompt["replaced"] == [{"wording": "Cue cells", "meaning": "Clue cells"}]
    assert provenance["replaced"] == "“Cue cells” → “Clue cells”"
    assert (provenance["negative_prompt"], provenance["guidance"]) == ("blurred", 2.5)
    prompt, _ = generated(tmp_path, *asked)
    assert (prompt["text"], prompt["replaced"]) == ("NILM. Cue cells >20%.", []), "COIN's own words"


def test_a_search_understands_by_default_and_says_so(environment: dict[str, str]) -> None:
    asked = ("search", "--text", "NILM. Cue cells.", "--channel", "report", "--json")
    note = "Understood by the glossary, where reports are compared: “Cue cells” → “Clue cells”."
    assert note in json.loads(coin(*asked).stdout)["notes"]
    assert note not in json.loads(coin(*asked, "--glossary", "no").stdout)["notes"]


def test_what_cannot_be_is_refused_without_a_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    asked = ("generate", "--out", tmp_path, "--text", "NILM.", "--n-images", "1")
    for options, message in (
        (("--negative-prompt", "blurred " * 90), "shorten it"),
        (("--negative-prompt", "blurred", "--guidance", "1"), "guidance above 1"),
        (("--guidance", "-1"), "0<=x<=50"),
        (("--long-reports", "cut"), "'condense', 'chunk'"),
    ):
        refused = coin(*asked, *options)
        assert refused.exit_code != 0
        assert message in " ".join(refused.stderr.split())


@pytest.mark.parametrize("value", ["nan", "-0.5", "51", "strong"])
def test_a_guidance_that_is_none_is_named(value: str) -> None:
    with pytest.raises(SettingError, match=f"COIN_GUIDANCE='{value}'"):
        Settings.from_env({"COIN_GUIDANCE": value})


def test_decimals_round_trip() -> None:
    settings = Settings(guidance=2.5, negative_prompt="blurred", long_reports="chunk", glossary="no", site_hint="no")
    assert Settings.from_env(settings.to_env()) == settings


@pytest.mark.slow
def test_a_requested_site_is_stated_where_that_is_wanted(environment: dict[str, str]) -> None:
    asked = ("search", "--text", "Clusters of atypical cells.", "--asked-site", "thyroid", "--json")
    stated = json.loads(coin(*asked).stdout)
    assert stated["generation"]["prompt"]["text"] == "(Thyroid) Clusters of atypical cells."
    plain = json.loads(coin(*asked, "--site-hint", "no").stdout)
    assert plain["generation"]["prompt"]["text"] == "Clusters of atypical cells."


def test_the_text_says_what_was_done_to_the_report() -> None:
    def shown(prompt: Prompt) -> str:
        return " ".join(generation_text(Generation("r", prompt, (), 1.0)).split())

    assert "prompt (9 of 77 tokens): Two" in shown(Prompt("r", "Two", 9, 77))
    assert "left out of the prompt: One" in shown(Prompt("r", "Two", 9, 77, ("One",)))
    chunks = shown(Prompt("r", "One. Two.", 90, 154, chunks=("One.", "Two.")))
    assert "prompt (90 of 154 tokens, in 2 chunks): One. Two." in chunks
    assert "the report was read in 2 chunks; nothing was left out" in chunks
    replaced = shown(Prompt("r", "clue", 9, 77, replaced=(Replacement("cue", "clue"), Replacement("a", "b"))))
    assert "replaced by the glossary: “cue” → “clue”; “a” → “b”" in replaced
