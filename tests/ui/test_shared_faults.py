"""Each folder of the shared faults comes out as expected, by the command that a user would meet it with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from index_store import Archive
from retrieval.ingest.identifiers import find_identifiers
from retrieval.language.archive_labels import archive_labels
from retrieval.language.label_extraction import read_report
from tests.processor_time import processor_seconds
from tests.ui.conftest import coin

FAULTS = Path(__file__).parents[3] / "shared" / "data" / "faults"

Add = Callable[..., SimpleNamespace]


@pytest.fixture
def add(models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """Adds a fault's manifest to a new archive: what was printed, and the cases that are there then."""

    def add(name: str, *, pictures: bool = False) -> SimpleNamespace:
        source = tmp_path / name
        shutil.copytree(FAULTS / name, source)
        (manifest,) = source.glob("*manifest.*")
        if pictures:  # the folder holds none
            (source / "img").mkdir(exist_ok=True)
            for number in range(28):
                for name in {f"{number:02}.png", f"{number}.png"}:
                    Image.effect_noise((64, 64), 10 + number).convert("RGB").save(source / "img" / name)
        assert coin("init").exit_code == 0
        result = coin("add", manifest)
        with Archive.open(tmp_path / "archive") as archive:
            cases = archive.cases()
            mean = [float(np.asarray(archive.picture(case.images[0].id)).mean()) for case in cases]
            facets = archive_labels(archive).facets()
        printed = " ".join(f"{result.stdout} {result.stderr}".split())
        notes = [image.note for case in cases for image in case.images]
        return SimpleNamespace(
            printed=printed, cases=cases, mean=mean, notes=notes, facets=facets, code=result.exit_code
        )

    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    return add


def noted_or_refused(found: SimpleNamespace, word: str) -> None:
    """Nothing wrong in silence: the picture is refused, or a note stands on it and in the summary."""
    assert word in found.printed
    if found.cases:
        assert word in found.notes[0]


def alpha_zero(add: Add) -> None:
    found = add("alpha_zero")
    noted_or_refused(found, "transparen")
    assert all(mean < 250 for mean in found.mean), "a white picture"


def category_spellings(add: Add) -> None:
    found = add("category_spellings", pictures=True)
    assert len(found.cases) == 14
    counted = {facet.name: facet.cases for facet in found.facets["category"]}
    assert counted == {"HSIL": 7, "ASC-US": 3, "NILM": 2}
    assert [case.category for case in found.cases[2:4]] == ["H-SIL", "HSIL (CIN 2-3)"], (
        "the archive keeps what was written"
    )


def cost(add: Add) -> None:
    text = (FAULTS / "cost" / "blank_lines_24k.txt").read_text(encoding="utf-8")
    assert processor_seconds(lambda: read_report(text), enough=1) < 1
    found = add("cost", pictures=True)
    assert len(found.cases) == 28, found.printed
    table = coin("evaluate", "--seed", "0")
    assert "unexpected error" not in table.stderr
    assert table.exit_code == 0 and "Research use only" in table.stdout, table.stderr
    dots = coin("search", "--text-file", FAULTS / "cost" / "dots.txt")
    assert dots.exit_code == 1
    assert "empty" in dots.stderr, dots.output
    # The pictures are measured in tests/index_store/files/test_cost.py.


def jp2k_in_tiff(add: Add) -> None:
    assert "JPEG 2000" in add("jp2k_in_tiff").printed


def jpeg12(add: Add) -> None:
    assert "a 12-bit JPEG" in add("jpeg12").printed


def label_page_first(add: Add) -> None:
    noted_or_refused(add("label_page_first"), "pages")


def label_value(add: Add) -> None:
    allowed = {"", "NFM", "NHGUC", "NILM", "Benign"}
    assert {case.category for case in add("label_value").cases} <= allowed


def versus(add: Add) -> None:
    assert {case.category for case in add("versus").cases} == {""}


def other_language(add: Add) -> None:
    found = add("other_language")
    assert {case.category for case in found.cases} == {""}
    assert "English" in found.printed


def lora_lora_bias(add: Add) -> None:
    """It is of another base than the tiny one: named by its tensors, where it once was a RuntimeError."""
    (problem,) = problems(FAULTS / "lora_lora_bias" / "lora.safetensors")
    assert "lora_B.bias is 160, for a weight of 32×32" in problem


def lora_peft(add: Add) -> None:
    (problem,) = problems(FAULTS / "lora_peft_adapter_model_base_model_model_")
    assert "64 of its 64 tensors have other shapes" in problem, "the prefix is no reason"


def problems(lora: Path) -> list[str]:
    found: list[str] = json.loads(coin("models", "check", "--json", "--lora", lora).stdout)["problems"]
    return found


def mpo_scans(add: Add) -> None:
    from index_store import ImageProblem, decode_picture

    with pytest.raises(ImageProblem, match=r"scans|MB to decode"):
        decode_picture((FAULTS / "mpo_scans" / "as_mpo.jpg").read_bytes())


def name_forms(add: Add) -> None:
    for text in ("Patient: DOE, JANE", "Patient name: DOE^JANE", "Patient Jane Doe, 62 years"):
        found = " ".join(text[each.start : each.end] for each in find_identifiers(text)).casefold()
        assert "doe" in found and "jane" in found, text


def nfd_name(add: Add) -> None:
    assert [case.key for case in add("nfd_name").cases] == ["NFC1"]


def one_pixel(add: Add) -> None:
    found = add("one_pixel")
    assert not found.cases
    assert "1 × 1 pixel" in found.printed


def padded_ids(add: Add) -> None:
    assert [case.key for case in add("padded_ids").cases] == ["00000123", "00000124"]


def placeholder_patient(add: Add) -> None:
    assert len({case.patient for case in add("placeholder_patient").cases}) == 8


def second_sheet(add: Add) -> None:
    found = add("second_sheet")
    assert len(found.cases) == 3 or "2024" in found.printed


def sep_line(add: Add) -> None:
    assert [case.key for case in add("sep_line").cases] == ["SEP1"]


def twelve_in_sixteen(add: Add) -> None:
    found = add("twelve_in_sixteen")
    noted_or_refused(found, "12 bits")
    assert all(mean > 50 for mean in found.mean), "a black picture"


def zstack(add: Add) -> None:
    noted_or_refused(add("zstack"), "of its 5")


OUTCOMES: dict[str, Callable[[Add], None]] = {
    "lora_peft_adapter_model_base_model_model_": lora_peft,
    **{
        outcome.__name__: outcome
        for outcome in (
            *(alpha_zero, category_spellings, cost, jp2k_in_tiff, jpeg12, label_page_first, label_value, versus),
            *(other_language, lora_lora_bias, mpo_scans, name_forms, nfd_name, one_pixel, padded_ids),
            *(placeholder_patient, second_sheet, sep_line, twelve_in_sixteen, zstack),
        )
    },
}


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the shared faults are not here")
def test_every_folder_has_its_outcome() -> None:
    assert set(OUTCOMES) >= {path.name for path in FAULTS.iterdir() if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OUTCOMES))
def test_a_fault_comes_out_as_expected(name: str, add: Add) -> None:
    if not (FAULTS / name).is_dir():
        pytest.skip(f"the shared data are not here: {name}")
    OUTCOMES[name](add)
