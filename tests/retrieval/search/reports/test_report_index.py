"""The report channel: words and meaning of the archive's reports, in step with the archive."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from retrieval import CaseSearch, Encoder, add_manifest
from retrieval.language.words.bm25 import with_meanings
from retrieval.language.words.terms import content_words, words_of
from retrieval.search.fusion import FusionRule
from retrieval.search.group_by_patient import PatientHit, Ranking
from retrieval.search.reports.report_index import read_report_index
from tests.retrieval.conftest import speckled

REPORTS = ("Clue cells, coccobacilli.", "Koilocytes, LSIL.", "", "Clue cells; Trichomonas.", "Papillary carcinoma.")
BY_WORDS = FusionRule("score", {"words": 1, "meaning": 0})
BY_MEANING = FusionRule("score", {"words": 0, "meaning": 1})


@pytest.fixture(scope="module")
def archive(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Five cases; "a" and "d" are of one patient."""
    folder = tmp_path_factory.mktemp("reports")
    lines = ["image\tcase\tpatient\treport"]
    for number, (report, key) in enumerate(zip(REPORTS, "abcde", strict=True)):
        speckled(number).save(folder / f"{number}.png")
        lines.append(f"{number}.png\t{key}\t{'a' if key == 'd' else key}\t{report or ' '}")
    (folder / "manifest.tsv").write_text("\n".join(lines))
    with Archive.create(folder / "archive") as archive:
        summary = add_manifest(archive, folder / "manifest.tsv", encoder)
        assert summary.added + len(summary.skipped) == len(REPORTS)
        yield archive


def by_key(archive: Archive, ranking: Ranking) -> dict[str, PatientHit]:
    """A ranking by the patients' keys."""
    keys = archive.patient_keys(ranking)
    return {keys[patient]: hit for patient, hit in ranking.items()}


def test_words_find_what_shares_them_and_nothing_else(archive: Archive, encoder: Encoder) -> None:
    reports = read_report_index(archive, encoder.fingerprint)
    ranking = by_key(archive, reports.rank("clue cells and trichomonas", None, BY_WORDS, permitted=None))
    assert list(ranking) == ["a"]
    assert archive.cases_by_id([ranking["a"].case_id])[ranking["a"].case_id].key == "d"
    assert ranking["a"].image_id is None
    assert reports.rank("melanoma", None, BY_WORDS, permitted=None) == {}


def test_with_the_glossary_a_machine_translated_word_finds_the_usual_one(archive: Archive, encoder: Encoder) -> None:
    reports = read_report_index(archive, encoder.fingerprint, glossary=True)
    asked = with_meanings("Cue cell.")
    assert asked == "Cue cell. clue"
    assert list(reports.rank("Cue.", None, BY_WORDS, permitted=None)) == []
    assert list(by_key(archive, reports.rank(asked, None, BY_WORDS, permitted=None))) == ["a"]
    assert with_meanings("Clue cells.") == "Clue cells."


def test_a_search_understands_machine_translated_words_unless_told_not_to(archive: Archive, encoder: Encoder) -> None:
    def found(glossary: bool, text: str) -> list[str]:
        search = CaseSearch(archive, encoder, rules={"report": BY_WORDS}, glossary=glossary)
        return [entry.case.key for entry in search.by_report(text, channels=("report",)).cases]

    assert found(True, "Cue cell.") == ["a"]
    assert found(False, "Cue cell.") == []


def test_meaning_orders_by_the_cosine_of_the_texts(archive: Archive, encoder: Encoder) -> None:
    reports = read_report_index(archive, encoder.fingerprint)
    query = encoder.encode_texts(["Some lesion."])
    ranking = by_key(archive, reports.rank("Some lesion.", query, BY_MEANING, permitted=None))
    texts = {"a": [REPORTS[0], REPORTS[3]], "b": [REPORTS[1]], "e": [REPORTS[4]]}
    cosines = {patient: float((encoder.encode_texts(of) @ query[0]).max()) for patient, of in texts.items()}
    assert list(ranking) == sorted(cosines, key=lambda patient: -cosines[patient])


def test_only_permitted_cases_answer(archive: Archive, encoder: Encoder) -> None:
    reports = read_report_index(archive, encoder.fingerprint)
    permitted = np.array([archive.case(key).id for key in "bd"])
    query = encoder.encode_texts(["Clue cells."])
    ranking = reports.rank("Clue cells.", query, FusionRule("score"), permitted=permitted)
    assert {place.case_id for place in ranking.values()} == set(permitted.tolist())


@pytest.mark.slow
def test_a_report_without_a_vector_is_still_found_by_its_words(encoder: Encoder, tmp_path: Path) -> None:
    speckled(0).save(tmp_path / "0.png")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("image,case,report\n0.png,a,Clue cells\n")
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest, encoder)
        assert read_report_index(archive, encoder.fingerprint).without_vector == 0
        (case,) = archive.cases()
        (planned,) = archive.pending(_changed(manifest)).changed
        archive.update([planned])
        reports = read_report_index(archive, encoder.fingerprint)
        assert reports.without_vector == 1
        found = reports.rank("koilocytes", encoder.encode_texts(["koilocytes"]), FusionRule("score"), permitted=None)
        assert [place.case_id for place in found.values()] == [case.id]


def _changed(manifest: Path) -> list:
    from index_store import read_manifest

    manifest.write_text("image,case,report\n0.png,a,Koilocytes\n")
    return list(read_manifest(manifest).rows)


def test_an_empty_archive_has_no_reports(encoder: Encoder, tmp_path: Path) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        archive.use_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)
        reports = read_report_index(archive, encoder.fingerprint)
        assert reports.rank("a", None, FusionRule("score"), permitted=None) == {}


@pytest.mark.slow
@pytest.mark.parametrize("rule", [BY_WORDS, BY_MEANING, FusionRule("rrf"), FusionRule("score", {"meaning": 99})])
@pytest.mark.parametrize("text", ["The clue cells.", "LSIL", "trichomonas", "carcinoma; papillary", "clue", "absent"])
def test_reports_that_contain_the_words_come_first_whatever_the_rule(
    archive: Archive, encoder: Encoder, rule: FusionRule, text: str
) -> None:
    reports = read_report_index(archive, encoder.fingerprint)
    vector = encoder.encode_texts(["Papillary carcinoma."])
    ranking = by_key(archive, reports.rank(text, vector, rule, permitted=None, contained=content_words(text)))
    wanted = set(content_words(text))
    holding = [patient for patient, hit in ranking.items() if hit.contains_words]
    keys = {case.id: case.key for case in archive.cases()}
    texts = dict(zip("abcde", REPORTS, strict=True))
    expected = {"a" if key == "d" else key for key, report in texts.items() if wanted <= set(words_of(report))}
    assert set(holding) == expected
    assert list(ranking)[: len(holding)] == holding
    for patient in holding:
        assert wanted <= set(words_of(texts[keys[ranking[patient].case_id]]))


@pytest.mark.parametrize("text", ["L-SIL", "LGSIL", "low-grade squamous intraepithelial lesion", "CIN 1"])
def test_another_name_of_what_is_asked_is_the_same_word(archive: Archive, encoder: Encoder, text: str) -> None:
    result = CaseSearch(archive, encoder, rules={"report": BY_MEANING}).by_report(text, channels=("report",))
    assert [entry.case.key for entry in result.cases if entry.contains_words] == ["b"]
    assert result.cases[0].case.key == "b"
    assert not result.not_understood


def test_a_query_without_a_word_of_any_report_says_so(archive: Archive, encoder: Encoder) -> None:
    result = CaseSearch(archive, encoder).by_report("Eosinophils.")
    assert result.cases
    assert "no report of the archive contains any of its words" in result.warning


def test_where_all_reports_that_share_a_word_tie_the_words_still_have_a_say(archive: Archive, encoder: Encoder) -> None:
    reports = read_report_index(archive, encoder.fingerprint)
    vector = encoder.encode_texts([REPORTS[4]])
    by_words = FusionRule("score", {"words": 2})
    assert next(iter(by_key(archive, reports.rank("LSIL", vector, BY_MEANING, permitted=None)))) == "e"
    assert next(iter(by_key(archive, reports.rank("LSIL", vector, by_words, permitted=None)))) == "b"


@pytest.mark.parametrize("channels", [(), ("report",), ("joint", "report")])
def test_a_search_shows_the_case_that_contains_the_words_first(
    archive: Archive, encoder: Encoder, channels: tuple[str, ...]
) -> None:
    rules = {"text": FusionRule("score", {"joint": 50, "report": 1}), "report": BY_MEANING}
    search = CaseSearch(archive, encoder, rules=rules)
    for text, key in (("Trichomonas.", "d"), ("coccobacilli", "a"), ("LSIL.", "b")):
        result = search.by_report(text, channels=channels)
        assert [entry.case.key for entry in result.cases if entry.contains_words] == [key]
        assert result.cases[0].case.key == key
        assert all(a.score >= b.score for a, b in itertools.pairwise(result.cases))


def test_a_channel_that_compares_no_reports_puts_nothing_first(archive: Archive, encoder: Encoder) -> None:
    result = CaseSearch(archive, encoder).by_report("Trichomonas.", channels=("joint",))
    assert not any(entry.contains_words for entry in result.cases)


@pytest.mark.slow
def test_an_index_that_follows_is_as_one_read_anew(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(archive: Archive, rows: list[str]) -> None:
        (tmp_path / "list.tsv").write_text("\n".join(["image\tcase\tpatient\treport", *rows]))
        add_manifest(archive, tmp_path / "list.tsv", encoder)

    read: list[int] = []
    most: list[int] = []
    with Archive.create(tmp_path / "archive") as archive:
        reports_of = archive.reports_of
        monkeypatch.setattr(archive, "reports_of", lambda ids: (read.append(len(list(ids))), reports_of(ids))[1])
        known = None
        steps = [
            [f"{i}.png\tc{i}\tp{i // 2}\tFinding {i}, clue cells." for i in range(12)],
            ["12.png\tc12\tp0\tLSIL with koilocytes."],
            ["3.png\tc3\tp1\tAnother text altogether: cue cell."],
            ["4.png\tc4\tsomebody\tFinding 4, clue cells."],
            ["5.png\tc13\tp9\t \n"],
        ]
        for number in range(13):
            speckled(number).save(tmp_path / f"{number}.png")
        for step in [*steps, "c0", "c5", *[f"c{i}" for i in range(6, 12)]]:
            archive.remove(step) if isinstance(step, str) else add(archive, step)
            read.clear()
            known = read_report_index(archive, encoder.fingerprint, glossary=True, known=known)
            most.append(max(read))
            anew = read_report_index(archive, encoder.fingerprint, glossary=True)
            assert (known.count, known.without_vector) == (anew.count, anew.without_vector) == (anew.count, 0)
            for text in ("clue cells", "koilocytes", "finding 4", "altogether"):
                vector = encoder.encode_texts([text])
                permitted = archive.case_ids()
                for rule in (BY_WORDS, BY_MEANING, FusionRule("score"), FusionRule("rrf")):
                    found = known.rank(text, vector, rule, permitted=permitted, contained=content_words(text))
                    expected = anew.rank(text, vector, rule, permitted=None, contained=content_words(text))
                    assert list(found) == list(expected)
                    assert [h.case_id for h in found.values()] == [h.case_id for h in expected.values()]
                    assert [h.score for h in found.values()] == pytest.approx(
                        [h.score for h in expected.values()], rel=1e-4
                    )
        assert most[0] == 12
        assert max(most[1:]) == 1, "only what has changed is read again"
        assert len(known.case_ids) < 14, "rows of what is gone are given back"
