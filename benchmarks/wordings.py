"""Do the channels find what another author wrote in other words? The weights of `fusion_rules.toml` were chosen by it.

    python -m benchmarks.wordings
    python -m benchmarks.wordings --rules --generated 44     # every rule of the grid, with generated images: an hour

Archives of phantoms whose reports are in three vocabularies (training wordings, held-out ones, sentences of another
author), and the real smears where the shared data is beside the checkout, are queried in the words of other authors:
the sentences of the tests and of the shared data, telegraphic notes, plain prose, and held-out phantoms. A pair of
archive and author either chooses the rules or is kept apart. Printed is the share of the first 10 patients that have
the query's site and category, for each channel and joined, and how often `joint` would call a query not comparable by
a calibration on the archive's own reports (nominal: 5 %). Beside it, the same queries with an image of their class.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from tqdm import tqdm

from benchmarks.machine import describe_machine
from benchmarks.text_calibration import calibrate_texts
from benchmarks.wording_archives import QUERY_SEED, Label, archives, read_queries
from generation import CoinGenerator, GenerationCache
from generation.phantom import phantom_cases
from index_store import Archive
from retrieval import CaseSearch, Encoder, FusionRule, Query, default_rules
from retrieval.arrays import Vectors
from retrieval.assessment.novelty import nearest_similarity
from retrieval.language.query_text import query_text
from retrieval.search.channels.own_cases import NEIGHBOURS
from retrieval.search.fusion import POOL, fuse
from retrieval.search.group_by_patient import Ranking, rank_images
from retrieval.search.reports.report_index import ReportIndex, read_report_index
from retrieval.search.understand import understand_text

SHARED: Final = Path(__file__).parents[2] / "shared" / "data"
K: Final = 10
SEEDS: Final = (0, 1)
CHOOSING: Final = (
    ("training words", "tests"),
    ("training words", "prose"),
    ("training words", "phantoms"),
    ("tests' sentences", "prose"),
    ("tests' sentences", "phantoms"),
    ("real smears", "screening"),
)
"""Archive (by its reports' words) and author of the queries."""
KEPT_APART: Final = (
    ("training words", "shared"),
    ("training words", "notes"),
    ("held-out words", "shared"),
    ("held-out words", "notes"),
    ("tests' sentences", "shared"),
    ("tests' sentences", "notes"),
    ("shared sentences", "notes"),
    ("real smears", "practice"),
)
SHARES: Final = ((1, 3), (1, 1), (2, 1))
REPORT_RULES: Final = tuple(
    FusionRule(method, {"words": words, "meaning": meaning})  # type: ignore[arg-type]
    for method, (words, meaning) in product(("rrf", "score"), SHARES)
)
TEXT_RULES: Final = tuple(
    FusionRule(method, {"generated": generated, "joint": joint, "report": report})  # type: ignore[arg-type]
    for method, generated, (joint, report) in product(("rrf", "score"), (0.5, 1), ((1, 4), (1, 2), (1, 1)))
)
WORDS: Final = FusionRule("score", {"words": 1, "meaning": 0})
Figures = dict[tuple[int, int], tuple[float, float]]
"""By numbers of the rules, P@10 joined, and how much that is above the best channel."""


@dataclass(frozen=True)
class Ranked:
    """One query's rankings: by channel, and of `report` by rule."""

    wanted: Label
    channels: Mapping[str, Ranking]
    reports: Sequence[Ranking]
    joint_nearest: float
    image: Ranking
    """By the image of a held-out phantom of the query's class; empty where there is none."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    logging.disable(logging.INFO)
    shipped = default_rules()
    reports = (shipped["report"], *(REPORT_RULES if options.rules else ()))
    texts = (shipped["text"], *(TEXT_RULES if options.rules else ()))
    queries = read_queries(options.data, options.queries)
    encoder = Encoder(device=options.device)
    figures: dict[tuple[str, str], Figures] = {}
    print(f"{describe_machine()}\nShipped: report by {reports[0].words(('words', 'meaning'))}")
    print(f"joined by {texts[0].words(('generated', 'joint', 'report'))}\n")
    pictures = _pictures(encoder, options.queries)
    names = ["words alone", "`joint`", *(["`generated`"] if options.generated else []), "`report`", "joined"]
    names += ["`image`", "with image"]
    print(f"| archive | queries by | n | {' | '.join(names)} | joined − best | `joint`: not comparable |")
    print(f"|---|---|---|{'---|' * (len(names) + 2)}")
    with TemporaryDirectory() as folder:
        generator = CoinGenerator(cache=GenerationCache(options.cache or Path(folder) / "generated"))
        for archive, name in archives(Path(folder), encoder, queries, options.data, options.per_class):
            labels = {case.id: (case.site, case.category) for case in archive.cases()}
            there = set(labels.values())
            index = read_report_index(archive, encoder.fingerprint, glossary=True)
            threshold = _joint_threshold(archive, encoder)
            for pair in (pair for pair in (*CHOOSING, *KEPT_APART) if pair[0] == name):
                asked = [(text, label) for text, label in queries[pair[1]] if label in there]
                if options.generated:
                    asked = asked[:: max(1, len(asked) // options.generated)]
                if not asked:
                    continue
                search = CaseSearch(archive, encoder, generator) if options.generated else None
                ranked = [
                    _ranked(archive, index, encoder, (text, label), (WORDS, *reports), search, pictures)
                    for text, label in tqdm(asked, desc=" / ".join(pair), file=sys.stderr)
                ]
                cells, figures[pair] = _figures(ranked, labels, reports, texts)
                novel = np.mean([one.joint_nearest < threshold for one in ranked])
                row = " | ".join(f"{cells[column]:.3f}" if column in cells else "–" for column in names)
                author = f"**{pair[1]}**" if pair in KEPT_APART else pair[1]
                gain = figures[pair][0, 0][1]
                print(f"| {name} | {author} | {len(ranked)} | {row} | {gain:+.3f} | {novel:.0%} |", flush=True)
    print("\nBold: kept apart, no rule was chosen by it.")
    if options.rules:
        _print_rules(reports, texts, figures)
    return 0


def _pictures(encoder: Encoder, phantoms: int) -> dict[Label, Iterator[Vectors]]:
    """By site and category, float32[1, d] of images of held-out phantoms, over and over in turn."""
    by_label: dict[Label, list[Vectors]] = {}
    for phantom in phantom_cases(phantoms, seed=QUERY_SEED, split="held-out"):
        label = (phantom.morphology.site, phantom.morphology.category)
        by_label.setdefault(label, []).append(encoder.encode_images([phantom.render()]))
    return {label: cycle(vectors) for label, vectors in by_label.items()}


def _joint_threshold(archive: Archive, encoder: Encoder) -> float:
    """The similarity below which a text would be called not comparable, by the archive's own reports."""

    def encode(batch: Sequence[str]) -> Vectors:
        return encoder.encode_texts([query_text(text) for text in batch])

    return calibrate_texts(archive, encoder.fingerprint, encode).threshold("joint")


def _figures(
    ranked: Sequence[Ranked], labels: Mapping[int, Label], reports: Sequence[FusionRule], texts: Sequence[FusionRule]
) -> tuple[dict[str, float], Figures]:
    """P@10 of each channel and joined by the shipped rules; and by all pairs of rules."""
    channels = ranked[0].channels
    alone = {
        f"`{name}`": _mean([_alone(one.wanted, one.channels[name], labels) for one in ranked]) for name in channels
    }
    words, *by_reports = (
        _mean([_alone(one.wanted, one.reports[i], labels) for one in ranked]) for i in range(len(reports) + 1)
    )
    alone["words alone"] = words
    figures = {}
    for i, by_report in enumerate(by_reports):
        joined = np.array([_joined(one, one.reports[i + 1], texts, labels) for one in ranked]).mean(axis=0)
        for j, value in enumerate(joined.tolist()):
            figures[i, j] = value, value - max(*alone.values(), by_report)
    cells = {**alone, "`report`": by_reports[0], "joined": figures[0, 0][0]}
    if all(one.image for one in ranked):
        cells["`image`"] = _mean([_alone(one.wanted, one.image, labels) for one in ranked])
        both = (default_rules()["text and image"],)
        cells["with image"] = _mean([_joined(one, one.reports[1], both, labels, by_image=True)[0] for one in ranked])
    return cells, figures


def _ranked(
    archive: Archive,
    index: ReportIndex,
    encoder: Encoder,
    query: tuple[str, Label],
    rules: Sequence[FusionRule],
    search: CaseSearch | None,
    pictures: Mapping[Label, Iterator[Vectors]],
) -> Ranked:
    """A query's rankings, as a search ranks; `search` generates images, None: there are none."""
    text, wanted = query
    understood = understand_text(text)
    assert understood is not None
    vector = encoder.encode_texts([understood.tower])
    every = {"pool": POOL, "where": None, "fingerprint": encoder.fingerprint}
    joint = rank_images(archive, vector, K, **every)  # type: ignore[arg-type]
    channels = {"joint": joint}
    if search is not None:
        generated = search.run(Query(text=text, seeds=SEEDS, channels=("generated",), k=K)).vector
        assert generated is not None
        channels["generated"] = rank_images(archive, generated, K, **every)  # type: ignore[arg-type]
    return Ranked(
        wanted,
        channels,
        [index.rank(understood.words, vector, rule, permitted=None, contained=understood.contained) for rule in rules],
        nearest_similarity([hit.score for hit in list(joint.values())[:NEIGHBOURS]]),
        rank_images(archive, next(pictures[wanted]), K, **every) if wanted in pictures else {},  # type: ignore[arg-type]
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _alone(wanted: Label, ranking: Ranking, labels: Mapping[int, Label]) -> float:
    return _precision(wanted, [hit.case_id for hit in list(ranking.values())[:K]], labels)


def _joined(
    one: Ranked,
    report: Ranking,
    rules: Sequence[FusionRule],
    labels: Mapping[int, Label],
    *,
    by_image: bool = False,
) -> list[float]:
    """P@10 of a query's channels with this ranking by reports, joined by each of the rules."""
    by_channel = {**({"image": one.image} if by_image else {}), **one.channels, "report": report}
    rankings = {name: dict(ranking) for name, ranking in by_channel.items()}  # a look at one is dear, at all not
    patients = list(dict.fromkeys(patient for ranking in rankings.values() for patient in ranking))
    scores = {
        name: np.array([[ranking[p].score if p in ranking else -np.inf for p in patients]])
        for name, ranking in rankings.items()
    }
    by_words = rankings["report"]
    first = np.array([[p in by_words and by_words[p].contains_words for p in patients]])
    precisions = []
    for rule in rules:
        fused = fuse(rule, scores, first={"report": first})
        cases = []
        for column in np.argsort(-fused.scores[0], kind="stable")[:K].tolist():
            parts = {name: fused.parts[name][0, column] for name in rankings if patients[column] in rankings[name]}
            by = "report" if first[0, column] else max(parts, key=lambda name: parts[name])
            cases.append(rankings[by][patients[column]].case_id)
        precisions.append(_precision(one.wanted, cases, labels))
    return precisions


def _precision(wanted: Label, cases: Sequence[int], labels: Mapping[int, Label]) -> float:
    return sum(labels[case] == wanted for case in cases) / K


def _print_rules(
    reports: Sequence[FusionRule],
    texts: Sequence[FusionRule],
    figures: Mapping[tuple[str, str], Mapping[tuple[int, int], tuple[float, float]]],
) -> None:
    """By rules: P@10 joined, the mean of the pairs, and the least of joined minus its best channel."""
    print("\n| report | joined | choosing: P@10 | least − best | kept apart: P@10 | least − best |")
    print("|---|---|---|---|---|---|")
    for i, j in product(range(len(reports)), range(len(texts))):
        cells = []
        for pairs in (CHOOSING, KEPT_APART):
            values = [figures[pair][i, j] for pair in pairs if pair in figures]
            means, gains = zip(*values, strict=True) if values else ((np.nan,), (np.nan,))
            cells += [f"{np.mean(means):.3f}", f"{min(gains):+.3f}"]
        how = f"{reports[i].words(('words', 'meaning'))} | {texts[j].words(('generated', 'joint', 'report'))}"
        print(f"| {how} | {' | '.join(cells)} |")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/ and reports/")
    parser.add_argument("--queries", type=int, default=176, help="held-out phantoms that query")
    parser.add_argument("--per-class", type=int, default=30, help="reference cases per site and category")
    parser.add_argument("--generated", type=int, default=0, help="queries of a pair, with two generated images each")
    parser.add_argument("--rules", action="store_true", help="compare all rules of the grid")
    parser.add_argument("--cache", type=Path, help="folder for generated images, kept")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
