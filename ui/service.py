"""Archive, encoder and generator for the command line and the view.

Each is opened when first needed, so that showing a case loads no model. The threads of a view's sessions share one
service.
"""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ui.archive_encoders import image_encoder, text_encoder
from ui.errors import NoArchiveError
from ui.generation_queue import GenerationQueue, GenerationStopped, Progress
from ui.settings import Settings

if TYPE_CHECKING:
    from generation import CoinGenerator
    from index_store import Archive, Case
    from retrieval import (
        AuditLog,
        CaseSearch,
        Diagnostics,
        Encoder,
        FusionRule,
        Gallery,
        Query,
        ResultDiagnostics,
        SavedQueries,
        SearchResult,
    )


class Service:
    """Search and cases for one set of settings.

    Where the settings name an audit log, every result and every case opened is recorded before it is returned; where
    the log cannot be written, `AuditError` is raised instead. `user` searches, by default this process's account.
    """

    def __init__(self, settings: Settings, *, interface: str = "command line") -> None:
        self.settings = settings
        self._interface = interface
        # cached_property takes no lock of its own: two sessions must not load a model twice.
        self._opening = threading.RLock()
        self.queue = GenerationQueue(partial(self.search, generate=True))
        """Queries of sessions that wait for images."""

    def close(self) -> None:
        """Stop what is generated, and close the archive, and with it connections to servers."""
        self.queue.close()
        self._close_archive()

    def _close_archive(self) -> None:
        with self._opening:
            archive = self.__dict__.pop("_archive", None)
            if archive is not None:
                archive.close()

    @property
    def archive(self) -> Archive:
        """The archive, open for reading; anew where the folder holds another one by now."""
        with self._opening:
            self._forget_replaced()
            return self._archive

    def _forget_replaced(self) -> None:
        """Forget an archive that was moved or replaced, with all that was made of it."""
        opened: Archive | None = self.__dict__.get("_archive")
        if opened is not None and opened.is_replaced:
            self._close_archive()
            for of_it in ("_search", "_diagnostics", "_audit_log", "_encoder", "_text_encoder"):
                self.__dict__.pop(of_it, None)

    @property
    def encoder(self) -> Encoder:
        """The encoder that the settings name, or that the archive was embedded with."""
        with self._opening:
            return self._encoder

    @property
    def text_encoder(self) -> Encoder | None:
        """The encoder that the settings or the archive name for texts; None where texts have no other."""
        with self._opening:
            return self._text_encoder

    @property
    def generator(self) -> CoinGenerator:
        """The generator that the settings name, with its cache."""
        with self._opening:
            return self._generator

    @property
    def cases(self) -> CaseSearch:
        """The search over the archive."""
        with self._opening:
            self._forget_replaced()
            return self._search

    @property
    def rules(self) -> Mapping[str, FusionRule]:
        """The fusion rules that ship, replaced by those of the settings' file."""
        from retrieval import default_rules, read_rules

        named = {} if self.settings.rules is None else read_rules(Path(self.settings.rules))
        return {**default_rules(), **named}

    @property
    def queries(self) -> SavedQueries:
        """The named queries of this archive: a case's key means nothing in another."""
        from retrieval import SavedQueries

        return SavedQueries(self.settings.queries_folder / self.archive.uuid)

    @property
    def reviews_folder(self) -> Path:
        """Where the reviews of this archive's cases are kept, a folder a user: beside its named queries."""
        return self.settings.queries_folder / self.archive.uuid / "reviews"

    @property
    def links_folder(self) -> Path:
        """Where the queries are kept that addresses of the view name, a folder a user."""
        return self.settings.queries_folder / self.archive.uuid / "links"

    def search(
        self, query: Query, *, progress: Progress | None = None, user: str = "", generate: bool | None = None
    ) -> SearchResult:
        """The result of a query (`CaseSearch.run`). `progress` counts the steps of generating images."""
        from retrieval import query_event, result_event

        archive = self.archive
        try:
            result = self.cases.run(query, progress=progress, generate=generate)
        except Exception as error:
            refused = {"refused": type(error).__name__}
            self._record("query", user, lambda: query_event(query) | refused)
            raise
        self._record("query", user, lambda: query_event(query) | result_event(archive, result))
        return result

    def search_at_hand(self, query: Query, *, user: str = "") -> SearchResult | None:
        """The result of a query, where all its images are in the cache; None, and nothing generated, where not."""
        from retrieval import query_event, result_event

        def refuse(_done: int, _total: int) -> None:
            raise GenerationStopped("An image is missing.")

        archive = self.archive
        try:
            result = self.cases.run(query, progress=refuse, generate=True)
        except GenerationStopped:
            return None
        self._record("query", user, lambda: query_event(query) | result_event(archive, result))
        return result

    def case(self, key: str, *, user: str = "") -> Case:
        """A case with its report and images, recorded as opened. Raises `index_store.CaseNotFoundError`."""
        from retrieval import cases_event

        case = self.archive.case(key)
        self._record("case", user, lambda: cases_event([case]))
        return case

    @property
    def audit_log(self) -> AuditLog | None:
        """The archive's audit log; None where the settings name none."""
        with self._opening:
            self._forget_replaced()
            return self._audit_log

    def _record(self, event: str, user: str, fields: Callable[[], dict[str, Any]]) -> None:
        if self.settings.audit is not None and self.audit_log is not None:
            self.audit_log.record(event, user=user or account(), place=self._interface, **fields())

    def diagnose(self, result: SearchResult) -> ResultDiagnostics:
        """The diagnostics of a result. The first call reads and calibrates the archive."""
        return self.diagnostics.describe(result)

    def gallery(self, result: SearchResult, *, m: int = 4, user: str = "") -> Gallery | None:
        """The nearest m cases of each category of the reporting system; None where no system is known."""
        from retrieval import categories_event, query_event

        rows = self.diagnostics.gallery(result, m=m)
        if rows is not None:
            self._record("categories", user, lambda: query_event(result.query) | categories_event(rows))
        return rows

    @property
    def diagnostics(self) -> Diagnostics:
        """Diagnostics and the nearest of each category, calibrated on the archive."""
        with self._opening:
            self._forget_replaced()
            return self._diagnostics

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of a query's images, by the settings."""
        return tuple(range(self.settings.seed, self.settings.seed + self.settings.n_images))

    @cached_property
    def _archive(self) -> Archive:
        # Its records are not written; what is made of them is kept for the next process, where the folder is ours.
        return open_archive(self.settings.archive, read_only=True, keep_derived=True)

    @cached_property
    def _encoder(self) -> Encoder:
        return image_encoder(self._archive, self.settings)

    @cached_property
    def _text_encoder(self) -> Encoder | None:
        return text_encoder(self._archive, self.settings)

    @cached_property
    def _generator(self) -> CoinGenerator:
        return make_generator(self.settings)

    @cached_property
    def _search(self) -> CaseSearch:
        from retrieval import CaseSearch

        return CaseSearch(
            self._archive,
            self._encoder,
            self._generator,
            text_encoder=self._text_encoder,
            rules=self.rules,
            site_hint=self.settings.site_hint == "yes",
            glossary=self.settings.glossary != "no",
        )

    @cached_property
    def _audit_log(self) -> AuditLog | None:
        from retrieval import AuditLog

        if self.settings.audit is None:
            return None
        return AuditLog(self.settings.audit, self._archive.uuid, keep_days=self.settings.audit_days)

    @cached_property
    def _diagnostics(self) -> Diagnostics:
        from retrieval import Diagnostics

        return Diagnostics(
            self._archive,
            self._encoder,
            self._generator,
            text_encoder=self._text_encoder,
            work=self.settings.work_folder,
        )


def account() -> str:
    """The operating system's account that this process runs under."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such account, as in some containers
        return "unknown account"


def open_archive(path: str | Path, *, read_only: bool = False, keep_derived: bool | None = None) -> Archive:
    """The archive in the folder `path` (`Archive.open`); raises NoArchiveError where there is nothing."""
    from index_store import Archive

    path = Path(path)
    if not path.exists():
        raise NoArchiveError(
            f"there is no archive at '{path}': make one with `coin init --archive {path}`, name another with "
            "--archive or COIN_ARCHIVE, or try `coin demo`"
        )
    return Archive.open(path, read_only=read_only, keep_derived=keep_derived)


def make_generator(settings: Settings, *, cached: bool = True) -> CoinGenerator:
    """The generator that the settings name. `cached=False` where the caller keeps the images itself."""
    from generation import CoinGenerator, GenerationCache

    cache = GenerationCache(settings.cache_folder, max_bytes=settings.cache_mb << 20) if cached else None
    return CoinGenerator(
        settings.base,
        settings.lora,
        device=settings.device,
        dtype=settings.dtype,
        vae=settings.vae,
        cache=cache,
        few_step_lora=settings.few_step_lora,
        compiled=settings.compile == "yes",
        low_memory=settings.memory == "low",
        long_reports="chunk" if settings.long_reports == "chunk" else "condense",
        glossary=settings.glossary == "yes",
        negative_prompt=settings.negative_prompt or "",
        guidance=settings.guidance,
    )
