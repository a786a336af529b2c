"""Where synthetic images come from: a set is used only if it is known whom its LoRA was trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from generation.model.files.weight_files import STARTER
from generation.model.lora.find import find_lora
from index_store import ReportRow, ReportTable
from retrieval import SyntheticSetError, Thumbnails, manifest_images, require_maker
from retrieval.synthetic.plan import class_of, with_labels


def a_set(folder: Path, lora: str, fingerprint: str) -> Path:
    folder.mkdir()
    (folder / "set.json").write_text(json.dumps({"recipe": {"lora": lora, "lora_fingerprint": fingerprint}}))
    return folder


def test_the_lora_of_a_set_is_the_starters_or_is_named(tmp_path: Path, sdxl_lora: Path) -> None:
    fingerprint = find_lora(sdxl_lora).fingerprint
    require_maker(a_set(tmp_path / "plain", "", ""), None)
    require_maker(a_set(tmp_path / "shipped", "starter", find_lora(STARTER / "lora").fingerprint), None)
    made = a_set(tmp_path / "made", "ours", f"{fingerprint} + {'c' * 64}")
    require_maker(made, str(sdxl_lora))
    for lora in (None, str(STARTER / "lora")):
        with pytest.raises(SyntheticSetError, match="made was made with the LoRA ours: name its folder with --lora"):
            require_maker(made, lora)


def test_a_spreadsheet_of_images_and_reports_gives_classes_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    """As COIN's does: no category, no patient."""
    below = tmp_path / "below"
    below.mkdir()
    for number in range(2):
        Image.effect_noise((48, 40), 10 + number).convert("RGB").save(tmp_path / f"{number}.png")
    rows = ["0.png,(Cervical smear) no intraepithelial lesion or malignancy (NILM).", "1.png,The slide was lost."]
    rows += ["1.png,", "gone.png,Report.", "/elsewhere/2.png,Report."]
    (below / "coin.csv").write_text("\n".join(["image,report", *rows]), encoding="utf-8")
    read = manifest_images(below / "coin.csv", Thumbnails(), images=tmp_path)
    assert read.classes == ("cervix NILM",) and read.derived == 1
    assert read.left_out == {
        "Has no category.": 1,
        "Names an image outside the images' folder.": 1,
        "Names an image that is not there.": 1,
        "Repeats an earlier line (same case, same image).": 1,
    }


def test_a_set_has_classes_of_its_reports() -> None:
    rows = [
        ReportRow(2, "Urine cytology: no malignant cells were found.", {"image": "a.jpg"}),
        ReportRow(3, "Urine cytology: no malignant cells were found.", {"category": "HGUC", "site": "urine"}),
        ReportRow(4, "The slide was lost.", {"category": "N/A"}),
    ]
    table = with_labels(ReportTable(Path("coin.csv"), ("image", "report", "category", "site"), tuple(rows), ()))
    assert [class_of(row) for row in table.rows] == ["urine NHGUC", "urine HGUC", ""]
    assert [row.cells.get("labels_from_report", "") for row in table.rows] == ["site system category", "", ""]
    assert table.columns == ("image", "report", "category", "site", "system", "labels_from_report")
