"""An archive under any sequence of calls, crashes among them, equals a plain dictionary searched by brute force.

`make test-faults` tries many more and longer sequences (`thoroughness.py`).
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from index_store import (
    ROLES,
    Archive,
    Case,
    CaseFilter,
    Derived,
    DerivedName,
    EncoderIncompleteError,
    EncoderMismatchError,
    ManifestRow,
    NewImage,
    PlannedImage,
    Role,
    content_hash,
    decode_image,
)
from index_store.catalog.counts.kept import stored
from index_store.catalog.counts.tally import whole_tally
from tests.index_store.archive_builders import (
    DIMS,
    FINGERPRINT,
    OTHER,
    embed_images,
    embed_reports,
    encoded,
    picture,
    records,
    reembed,
    reports_embedded,
    stored_files,
    vector_of,
    vector_of_text,
)
from tests.index_store.backends import BACKENDS, SQLITE_FAISS, Backend
from tests.index_store.crashes import Crashed, abandon, crashing
from tests.index_store.thoroughness import ASKED, thoroughness

MEMORY = Path("/dev/shm")  # hundreds of small transactions: no need to wait for a disk each time
CASES = [f"case-{i}" for i in range(6)]
PATIENTS = ["ann", "bob", "cy"]
SITES = ["cervix", "urine"]
STAINS = ["Pap", "MGG"]


class Content(bytes):
    """An image file, which a failing example names in a word."""

    def __repr__(self) -> str:
        return f"CONTENTS[{CONTENTS.index(self)}]"


CONTENTS = [Content(encoded(picture(seed, size=(8, 8)), "PNG" if seed % 2 else "JPEG")) for seed in range(8)]
ENCODERS = [FINGERPRINT, OTHER]
SUM = DerivedName("sums", 1)
ROLE: st.SearchStrategy[Role | None] = st.sampled_from([None, *ROLES])
"""None: both."""
STEPS = st.one_of(st.integers(1, 8), st.integers(1, 24))
"""After how many durable steps of a call a crash comes; most calls have fewer than 8, a large addition 20 or so."""


@dataclass
class ModelCase:
    report: str
    site: str
    patient: str
    derived: tuple[str, ...] = ()
    images: dict[str, str] = field(default_factory=dict)  # content hash -> stain


@dataclass
class Model:
    """What the archive should hold."""

    cases: dict[str, ModelCase] = field(default_factory=dict)
    active: str = FINGERPRINT
    text: str = FINGERPRINT
    """The encoder of the text role; `active` has the image role."""
    begun: set[str] = field(default_factory=lambda: {FINGERPRINT})
    vectors: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: {name: set() for name in ENCODERS})
    """By encoder, the (case, content) that have a vector."""
    texts: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in ENCODERS})
    """By encoder, case -> the report that its vector was made of."""
    revision: int = 0

    @property
    def images(self) -> set[tuple[str, str]]:
        return {(key, sha256) for key, case in self.cases.items() for sha256 in case.images}

    def embedded(self, fingerprint: str) -> set[str]:
        """The cases whose report has a vector of its present text."""
        made_of = self.texts[fingerprint]
        return {key for key, case in self.cases.items() if case.report.strip() and made_of.get(key) == case.report}

    def lacking(self, fingerprint: str) -> set[str]:
        return {key for key, case in self.cases.items() if case.report.strip()} - self.embedded(fingerprint)

    def is_whole(self, fingerprint: str, role: Role | None = None) -> bool:
        embedded = self.vectors[fingerprint] == self.images
        return embedded and (role == "image" or not self.lacking(fingerprint))

    def roles(self, fingerprint: str) -> tuple[Role, ...]:
        named: dict[Role, str] = {"image": self.active, "text": self.text}
        return tuple(role for role in ROLES if named[role] == fingerprint)

    def note(self, row: ManifestRow) -> ModelCase:
        case = self.cases.setdefault(row.case, ModelCase("", "", ""))
        case.report, case.site, case.patient = row.report, row.site, row.patient
        case.derived = row.derived or ()  # a site given without a mark has none
        return case


def rows() -> st.SearchStrategy[tuple[ManifestRow, bytes]]:
    def build(
        case: str, patient: str, site: str, stain: str, report: str, derived: tuple[str, ...] | None, content: bytes
    ) -> tuple[ManifestRow, bytes]:
        row = ManifestRow(2, "x.png", Path("x.png"), case, patient, report, site=site, stain=stain, derived=derived)
        return row, content

    reports = st.sampled_from(["Benign.", "Malignant.", "Größe ≥ 3 µm", " \n"])
    choices = (st.sampled_from(values) for values in (CASES, PATIENTS, SITES, STAINS))
    derived = st.sampled_from([None, (), ("site",)])
    return st.builds(build, *choices, reports, derived, st.sampled_from(CONTENTS))


Rows = list[tuple[ManifestRow, bytes]]


class ArchiveMachine(RuleBasedStateMachine):
    """The calls come in any order. Each changes archive and model, and says what both should answer."""

    backend: ClassVar[Backend] = SQLITE_FAISS

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
        self.folder = self.root / "archive"
        self.model = Model()
        self.kept: Model | None = None
        """What the backup holds."""
        self.restored = 0

    @initialize(batch=st.lists(rows(), min_size=3, max_size=8))
    def create(self, batch: Rows) -> None:
        self.archive = self.backend.create(self.folder)
        self.archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIMS[FINGERPRINT])
        self.add(batch)

    def teardown(self) -> None:
        try:
            self.archive.close()
            with self.backend.open(self.folder, read_only=True) as archive:
                found = archive.examine()
            assert [finding for finding in found.findings if not finding.harmless] == []
            self.backend.forget(self.folder)
        finally:
            shutil.rmtree(self.root)

    # What one call does, to the archive and to the model

    def do_add(self, batch: Rows) -> Callable[[Model], None]:
        items = [NewImage(row, content_hash(data), data, decode_image(data)) for row, data in batch]
        active = self.model.active
        vectors = np.array([vector_of(item.sha256, active) for item in items])
        self.result = self.archive.add(items, vectors, fingerprint=active)
        return self.model_add(batch)

    def model_add(self, batch: Rows) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            added = 0
            for row, data in batch:
                sha256 = content_hash(data)
                if (row.case, sha256) not in model.images:
                    model.note(row).images[sha256] = row.stain
                    model.vectors[model.active].add((row.case, sha256))
                    added += 1
            model.revision += added > 0
            self.expected = added

        return change

    def model_update(self, row: ManifestRow, data: bytes) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            known = (row.case, content_hash(data)) in model.images
            if known:
                model.note(row).images[content_hash(data)] = row.stain
                model.revision += 1
            self.expected = int(known)

        return change

    def model_remove(self, key: str) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            self.expected = len(model.cases.pop(key).images)
            for name in ENCODERS:
                model.vectors[name] = {pair for pair in model.vectors[name] if pair[0] != key}
                model.texts[name].pop(key, None)
            model.revision += 1

        return change

    def model_embed_reports(self, fingerprint: str) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            lacking = model.lacking(fingerprint)
            model.texts[fingerprint].update((key, model.cases[key].report) for key in lacking)
            model.revision += bool(lacking)
            self.expected = len(lacking)

        return change

    def model_embed_images(self, fingerprint: str) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            lacking = model.images - model.vectors[fingerprint]
            model.vectors[fingerprint] |= lacking
            model.revision += bool(lacking)
            self.expected = len(lacking)

        return change

    def model_switch(self, fingerprint: str, role: Role | None) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            before = (model.active, model.text)
            if role != "text":
                model.active = fingerprint
            if role != "image":
                model.text = fingerprint
            model.revision += before != (model.active, model.text)

        return change

    def model_reembed(self, fingerprint: str, role: Role | None) -> list[Callable[[Model], None]]:
        """One after the other, each in a transaction of its own."""

        def begin(model: Model) -> None:
            model.begun.add(fingerprint)

        changes = [self.model_embed_images(fingerprint), self.model_embed_reports(fingerprint)]
        return [begin, *changes, self.model_switch(fingerprint, role)]

    def model_drop(self, fingerprint: str) -> Callable[[Model], None]:
        def change(model: Model) -> None:
            self.expected = len(model.vectors[fingerprint])
            model.vectors[fingerprint], model.texts[fingerprint] = set(), {}
            model.revision += 1

        return change

    # The rules

    @rule(batch=st.lists(rows(), min_size=1, max_size=4))
    def add(self, batch: Rows) -> None:
        change = self.do_add(batch)
        change(self.model)
        assert self.result == self.expected

    @rule(changed=rows())
    def update(self, changed: tuple[ManifestRow, bytes]) -> None:
        row, data = changed
        self.model_update(row, data)(self.model)
        assert self.archive.update([PlannedImage(row, content_hash(data))]) == self.expected

    @rule(number=st.integers(0, len(CASES) - 1))
    def remove(self, number: int) -> None:
        if self.model.cases:
            key = self.some_case(number)
            self.model_remove(key)(self.model)
            assert self.archive.remove(key) == self.expected

    def some_case(self, number: int) -> str:
        return sorted(self.model.cases)[number % len(self.model.cases)]

    @rule(fingerprint=st.sampled_from(ENCODERS))
    def embed_reports(self, fingerprint: str) -> None:
        self.begin(fingerprint)
        self.model_embed_reports(fingerprint)(self.model)
        assert embed_reports(self.archive, batch=len(CASES), fingerprint=fingerprint) == self.expected

    @rule(fingerprint=st.sampled_from(ENCODERS))
    def embed_images(self, fingerprint: str) -> None:
        self.begin(fingerprint)
        self.model_embed_images(fingerprint)(self.model)
        assert embed_images(self.archive, fingerprint, batch=100) == self.expected

    @rule(fingerprint=st.sampled_from(ENCODERS), role=ROLE)
    def reembed(self, fingerprint: str, role: Role | None) -> None:
        for change in self.model_reembed(fingerprint, role):
            change(self.model)
        reembed(self.archive, fingerprint, batch=100, role=role)

    def begin(self, fingerprint: str) -> None:
        self.archive.begin_encoder(fingerprint, name="a test encoder", dim=DIMS[fingerprint])
        self.model.begun.add(fingerprint)

    @rule(key=st.sampled_from(CASES), report=st.sampled_from(["Benign.", "Malignant."]))
    def embed_one_report(self, key: str, report: str) -> None:
        """As somebody does who has read the report a while ago."""
        ids = [case.id for case in self.archive.cases() if case.key == key] or [999_999]
        still = key in self.model.cases and self.model.cases[key].report == report
        active = self.model.active
        vectors = vector_of_text(report, active)[None]
        assert self.archive.add_report_vectors(ids, [report], vectors, fingerprint=active) == still
        if still:
            self.model.texts[active][key] = report
            self.model.revision += 1

    @rule(seed=st.integers(0, len(CONTENTS) - 1), fingerprint=st.sampled_from(ENCODERS))
    def embed_what_is_there_or_gone(self, seed: int, fingerprint: str) -> None:
        """As somebody does who has listed what lacks a vector a while ago."""
        self.begin(fingerprint)
        sha256 = content_hash(CONTENTS[seed])
        images = [image for case in self.archive.cases() for image in case.images if image.sha256 == sha256]
        pairs = {(image.case_key, sha256) for image in images} - self.model.vectors[fingerprint]
        ids = [image.id for image in images] + [999_999]
        vectors = np.array([vector_of(sha256, fingerprint)] * len(ids))
        assert self.archive.add_vectors(ids, vectors, fingerprint=fingerprint) == len(pairs)
        self.model.vectors[fingerprint] |= pairs
        self.model.revision += bool(pairs)

    @rule(fingerprint=st.sampled_from(ENCODERS), role=ROLE)
    def switch(self, fingerprint: str, role: Role | None) -> None:
        has = {*self.model.roles(fingerprint)} >= {*([role] if role else ROLES)}
        if fingerprint not in self.model.begun:
            with pytest.raises(EncoderMismatchError):
                self.archive.switch_encoder(fingerprint, role=role)
        elif not has and not self.model.is_whole(fingerprint, role):
            with pytest.raises(EncoderIncompleteError):
                self.archive.switch_encoder(fingerprint, role=role)
        else:
            self.archive.switch_encoder(fingerprint, role=role)
            self.model_switch(fingerprint, role)(self.model)

    @rule(fingerprint=st.sampled_from(ENCODERS))
    def drop(self, fingerprint: str) -> None:
        if fingerprint not in self.model.begun or self.model.roles(fingerprint):
            with pytest.raises(EncoderMismatchError):
                self.archive.drop_encoder(fingerprint)
        else:
            self.model_drop(fingerprint)(self.model)
            assert self.archive.drop_encoder(fingerprint) == self.expected

    @rule(step=STEPS, batch=st.lists(rows(), min_size=1, max_size=4))
    def crash_in_add(self, step: int, batch: Rows) -> None:
        self.crash(step, lambda: self.do_add(batch), [self.model_add(batch)])

    @rule(step=STEPS, number=st.integers(0, len(CASES) - 1))
    def crash_in_remove(self, step: int, number: int) -> None:
        if self.model.cases:
            key = self.some_case(number)
            self.crash(step, lambda: self.archive.remove(key), [self.model_remove(key)])

    @rule(step=STEPS, fingerprint=st.sampled_from(ENCODERS), role=ROLE)
    def crash_in_reembed(self, step: int, fingerprint: str, role: Role | None) -> None:
        changes = self.model_reembed(fingerprint, role)
        self.crash(step, lambda: reembed(self.archive, fingerprint, batch=100, role=role), changes)

    @rule(step=STEPS, changed=rows(), fingerprint=st.sampled_from(ENCODERS), what=st.sampled_from(["update", "drop"]))
    def crash_in_update_or_drop(
        self, step: int, changed: tuple[ManifestRow, bytes], fingerprint: str, what: str
    ) -> None:
        row, data = changed
        if what == "update":
            planned = PlannedImage(row, content_hash(data))
            self.crash(step, lambda: self.archive.update([planned]), [self.model_update(row, data)])
        elif fingerprint in self.model.begun and not self.model.roles(fingerprint):
            self.crash(step, lambda: self.archive.drop_encoder(fingerprint), [self.model_drop(fingerprint)])

    def crash(self, step: int, act: Callable[[], object], changes: list[Callable[[Model], None]]) -> None:
        """Whatever the call was: each of its transactions happened wholly or not at all, one after the other, and the
        next call finds the archive in order."""
        states = [copy.deepcopy(self.model)]
        for change in changes:
            states.append(copy.deepcopy(states[-1]))
            change(states[-1])
        finished = False
        try:
            with crashing(step):
                act()
                finished = True
        except Crashed:
            pass
        abandon(self.archive)
        self.archive = self.backend.open(self.folder)
        reached = [state for state in states if state.revision == self.archive.revision]
        assert reached, "neither before nor after"
        if finished:
            assert reached[-1].revision == states[-1].revision, "what was acknowledged is there"
        known = {known.encoder.fingerprint for known in self.archive.encoders()}
        self.model = next((state for state in reached[::-1] if state.begun == known), reached[-1])
        assert self.archive.notes == (), "a crash must not cost a rebuilding"
        with self.archive.writer():
            pass  # clears up

    @rule(read_only=st.booleans())
    def reopen(self, read_only: bool) -> None:
        self.archive.close()
        if read_only:
            with self.backend.open(self.folder, read_only=True) as archive:
                assert archive.notes == ()
        self.archive = self.backend.open(self.folder)
        assert self.archive.notes == ()

    @rule(step=STEPS)
    def crash_in_keeping(self, step: int) -> None:
        self.crash(step, self.keep, [])

    @rule()
    def keep(self) -> None:
        """As a process that answers and has not answered yet: the labels, and something made of them."""
        with self.backend.open(self.folder, read_only=True, keep_derived=True) as archive:
            table = archive.image_table()
            archive.write_derived(SUM, Derived(table.position, {"ids": table.ids}))

    @rule()
    def lose_the_index(self) -> None:
        self.archive.close()
        self.backend.lose_index(self.folder)
        self.archive = self.backend.open(self.folder)
        self.archive.status()  # makes it anew

    @rule()
    def back_up(self) -> None:
        if self.backend.has_backup:
            shutil.rmtree(self.root / "backup", ignore_errors=True)
            self.archive.back_up(self.root / "backup")
            self.kept = copy.deepcopy(self.model)

    @rule()
    def restore(self) -> None:
        if self.kept is not None:
            self.archive.close()
            self.backend.forget(self.folder)
            Archive.restore(self.root / "backup", self.folder)
            self.archive = self.backend.open(self.folder)
            assert self.archive.notes == ()
            self.model = copy.deepcopy(self.kept)

    @rule(
        seed=st.integers(0, 20),
        k=st.integers(1, 12),
        sites=st.sets(st.sampled_from(SITES), max_size=1),
        stains=st.sets(st.sampled_from(STAINS), max_size=1),
        without=st.sets(st.sampled_from(PATIENTS), max_size=2),
        role=st.sampled_from(ROLES),
    )
    def search(self, seed: int, k: int, sites: set[str], stains: set[str], without: set[str], role: Role) -> None:
        active = self.model.active if role == "image" else self.model.text
        vectors = self.model.vectors[active]
        query = vector_of(f"{seed:064x}", active)
        where = CaseFilter(sites=tuple(sites), stains=tuple(stains), exclude_patients=tuple(without))
        expected = sorted(
            -score(sha256, query, active)
            for key, case in self.model.cases.items()
            for sha256, stain in case.images.items()
            if (key, sha256) in vectors
            and (not sites or case.site in sites)
            and (not stains or stain in stains)
            and case.patient not in without
        )[:k]
        (hits,) = self.archive.search(query[None], k, where=where, fingerprint=active)
        assert [-hit.score for hit in hits] == expected
        for hit, case in ((hit, self.archive.cases_of_images([hit.image_id])[hit.image_id]) for hit in hits):
            image = self.archive.image(hit.image_id)
            assert image.sha256 in self.model.cases[case.key].images
            assert hit.score == score(image.sha256, query, active)
        for other in {*ENCODERS} - {self.model.active, self.model.text}:
            with pytest.raises(EncoderMismatchError):
                self.archive.search(vector_of("0" * 64, other)[None], 1, fingerprint=other)

    # What holds after every one of them

    @invariant()
    def is_what_the_dictionary_is(self) -> None:
        cases = self.archive.cases()
        self.holds_what_the_dictionary_holds(cases)
        self.has_the_vectors_that_the_dictionary_has(cases)
        self.has_counted_what_the_dictionary_holds()
        self.lists_what_it_holds(cases)

    def holds_what_the_dictionary_holds(self, cases: list[Case]) -> None:
        model = self.model
        found = {
            case.key: ModelCase(
                case.report, case.site, case.patient, case.derived, {image.sha256: image.stain for image in case.images}
            )
            for case in cases
        }
        assert found == model.cases
        assert {name.split(".")[0] for name in stored_files(self.folder)} == {sha256 for _, sha256 in model.images}
        status = self.archive.status()
        assert status.images == status.indexed == len(model.images)
        text = status.roles["text"]
        assert (text.encoder.fingerprint, text.indexed) == (model.text, len(model.vectors[model.text]))
        assert text.images_without_vector == len(model.images) - text.indexed
        assert text.reports_without_vector == len(model.lacking(model.text))
        assert status.patients == len({case.patient for case in model.cases.values()})
        assert self.archive.revision == model.revision

    def has_the_vectors_that_the_dictionary_has(self, cases: list[Case]) -> None:
        model = self.model
        texts = sum(bool(case.report.strip()) for case in model.cases.values())
        assert {
            known.encoder.fingerprint: (
                known.active,
                known.roles,
                known.images,
                known.vectors,
                known.reports,
                known.report_vectors,
            )
            for known in self.archive.encoders()
        } == {
            name: (
                name == model.active,
                model.roles(name),
                len(model.images),
                len(model.vectors[name]),
                texts,
                len(model.embedded(name)),
            )
            for name in model.begun
        }
        images = [image for case in cases for image in case.images]
        pairs = {image.id: (image.case_key, image.sha256) for image in images}
        for name in model.begun:
            lacking = self.archive.images_without_vector(name).tolist()
            assert {pairs[image_id] for image_id in lacking} == model.images - model.vectors[name]
        stored = self.archive.vectors_of([image.id for image in images], model.active)
        for image, vector in zip(images, stored, strict=True):
            assert np.array_equal(vector, vector_of(image.sha256, model.active))

    def has_counted_what_the_dictionary_holds(self) -> None:
        model = list(self.model.cases.values())
        sites = Counter(case.site for case in model)
        stains = Counter(stain for case in model for stain in {*case.images.values()})
        nothing: dict[str, int] = {}
        assert self.archive.facets() == {
            "site": sites,
            "stain": stains,
            **dict.fromkeys(("system", "category", "preparation", "kind", "source"), nothing),
        }
        assert self.archive.labels() == {(site, "", ""): cases for site, cases in sites.items()}
        status = self.archive.status()
        assert (status.cases, status.sites) == (len(model), sites)
        assert status.derived == {"site": sum(case.derived != () for case in model), "system": 0, "category": 0}
        assert status.embeddings == {name: len(self.model.vectors[name]) for name in self.model.begun}
        with records(self.archive.path) as session:
            kept = stored(session)
            assert kept is not None, "the rows were counted"
            assert dict(kept) == dict(whole_tally(session)), "a count is wrong, or left at 0"

    def lists_what_it_holds(self, cases: list[Case]) -> None:
        assert [(r.case_id, r.case_key, r.patient, r.text) for r in self.archive.reports()] == [
            (case.id, case.key, case.patient, case.report) for case in cases
        ]
        assert self.archive.case_ids().tolist() == [case.id for case in cases]
        owners = {image.id: (case.id, case.patient) for case in cases for image in case.images}
        table = self.archive.image_table()
        rows, found = table.find(np.array([*owners, 999_999]))
        assert found.tolist() == [*[True] * len(owners), False]
        keys = self.archive.patient_keys(table.patients.tolist())
        at = [(int(table.cases[row]), keys[int(table.patients[row])]) for row in rows[found]]
        assert at == list(owners.values())
        self.holds_nothing_derived_of_what_is_gone(cases)
        for name in {self.model.active, self.model.text}:
            assert reports_embedded(self.archive, name).keys() == self.model.embedded(name)

    def holds_nothing_derived_of_what_is_gone(self, cases: list[Case]) -> None:
        labels = {image.id: (case.site, image.stain) for case in cases for image in case.images}
        table = self.archive.image_table()
        site, stain = ([table.columns[name].values[c] for c in table.columns[name].codes] for name in ("site", "stain"))
        assert dict(zip(table.ids.tolist(), zip(site, stain, strict=True), strict=True)) == labels
        kept = self.archive.read_derived(SUM)
        assert kept is None or {*kept.arrays["ids"].tolist()} <= labels.keys()


PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.target]
"""Not shrinking: each try opens an archive, and minutes of it say little more than the sequence that failed."""

MACHINES = [
    pytest.param("sqlite-faiss", 2, id="sqlite-faiss"),
    pytest.param("sqlite-faiss", 20, id="sqlite-faiss, more", marks=pytest.mark.slow),
    pytest.param("postgres-faiss", 3, id="postgres-faiss", marks=pytest.mark.slow),
    pytest.param("sqlite-milvus", 3, id="sqlite-milvus", marks=pytest.mark.cluster),
]
"""Each backend, and how many sequences of calls are tried."""


def score(sha256: str, query: np.ndarray, fingerprint: str) -> float:
    return float((vector_of(sha256, fingerprint).astype(np.float64) * query.astype(np.float64)).sum())


def test_every_backend_is_tried() -> None:
    assert {machine.values[0] for machine in MACHINES} == set(BACKENDS)


@pytest.mark.parametrize(("kind", "examples"), MACHINES)
def test_equals_a_dictionary(kind: str, examples: int, request: pytest.FixtureRequest) -> None:
    machine = type("Machine", (ArchiveMachine,), {"backend": BACKENDS[kind](request)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=thoroughness(examples, 200),
            stateful_step_count=50 if ASKED else 20 if kind == "sqlite-faiss" else 10,
            phases=PHASES,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
