from __future__ import annotations

from pathlib import Path

from generation import ImportCard, Licence, hub_revision, published_licence, sha256_of, write_import_card

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_card_names_source_licence_changes_and_checksums(tmp_path: Path) -> None:
    source, out = tmp_path / "models--org--name" / "snapshots" / COMMIT, tmp_path / "out"
    source.mkdir(parents=True)
    (out / "part").mkdir(parents=True)
    (source / "README.md").write_text('---\nlicense: other\nlicense_name: "open|rail"\ntags:\n- a\n---\nlicense: no\n')
    (source / "LICENSE.md").write_text("The terms.")
    (source / "weights.bin").write_bytes(b"abc")
    (out / "part" / "weights.safetensors").write_bytes(b"")
    licence = published_licence(source)
    card = ImportCard(
        "LoRA",
        "org/name",
        revision=hub_revision(source / "sub"),
        licence=licence,
        read=sha256_of([source / "weights.bin"], source),
        changes=("Names <b> were changed.",),
        left_out=("bundle_emb.x",),
        use="coin generate --lora out",
    )
    text = write_import_card(out, card).read_text()
    assert text.startswith(
        '---\nbase_model: "org/name"\nlicense: "other"\nlicense_name: "open|rail"\ntags: ["imported"]\n'
    )
    for words in (
        f"- Revision: {COMMIT}",
        "license: other, license_name: open&#124;rail (LICENSE.md)",
        "Names &lt;b&gt; were changed.",
        "- bundle_emb.x",
        "    coin generate --lora out",
        "| weights.bin | ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad |",
        "| part/weights.safetensors | e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 |",
        "| LICENSE.md | ",
    ):
        assert words in text
    assert (out / "LICENSE.md").read_text() == "The terms."
    assert write_import_card(out, card).read_text() == text  # no date, and the card is not in its own list


def test_local_files_have_no_revision_and_perhaps_no_licence(tmp_path: Path) -> None:
    assert (hub_revision(tmp_path), published_licence(tmp_path)) == ("", Licence())
    text = write_import_card(tmp_path, ImportCard("encoder", "model.pt")).read_text()
    assert "none: local files" in text
    assert "none stated; ask the authors" in text
    assert "- Nothing." in text
