"""How often something is called sure where there is no effect, by the number of patients.

    python -m benchmarks.no_effect [--rounds 2000]

Patients have images in unequal numbers, and deviations of their own that all their images share. Before and after (or
with and without) are exchangeable, so that every sentence that says "fell", "better" or "raise" is wrong: the table has
its share, which is to be at most 5 % within the error of the simulation. Readers guess and rate at random.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from generation.training.validation import change
from retrieval.reader_study.kappa import agreements
from retrieval.reader_study.results import guesses_of, scores_of
from retrieval.statistics.contributions import Ratios, Shares

PATIENTS = (2, 3, 5, 6, 8, 11, 20, 40)
CATEGORIES = 3
Simulation = Callable[[int, np.random.Generator], bool]


def loss_fell(patients: int, rng: np.random.Generator) -> bool:
    """Whether `coin train lora` says that a validation loss fell or rose."""
    names, own = _images(patients, rng)
    noise = rng.normal(size=patients)[own] + 0.3 * rng.normal(size=len(own))
    words = change([1.0] * len(own), (1 + noise).tolist(), names).words
    return " fell: " in words or " rose: " in words


def mean_differs(patients: int, rng: np.random.Generator) -> bool:
    """Whether a macro mean, such as P@10, is called better or worse by an encoder or a rule of fusion."""
    _, own = _images(patients, rng)
    category = rng.integers(CATEGORIES, size=patients)[own]
    right = rng.random((2, patients))[:, own] > rng.random((2, len(own)))
    in_category = np.bincount(category, minlength=CATEGORIES)
    weights = 1 / in_category[category] / (in_category > 0).sum()
    first, second = (
        Shares(np.bincount(own, weights * one, patients), np.bincount(own, weights, patients)) for one in right
    )
    return _sure(*first.interval(second))


def f1_differs(patients: int, rng: np.random.Generator) -> bool:
    """Whether `coin augment-check` says that macro-F1 is raised or lowered."""
    _, own = _images(patients, rng)
    truth = rng.integers(CATEGORIES, size=patients)[own]
    right = rng.random((2, patients))[:, own] > rng.random((2, len(own)))
    guesses = np.where(right, truth, rng.integers(CATEGORIES, size=right.shape))
    made = []
    for guess in guesses:
        hits, counts = np.zeros((2, CATEGORIES, patients))
        np.add.at(hits, (truth, own), 2.0 * (guess == truth))
        np.add.at(counts, (truth, own), 1.0)
        np.add.at(counts, (guess, own), 1.0)
        made.append(Ratios(csr_array(hits), csr_array(counts)))
    return _sure(*made[0].interval(made[1]))


def scores_differ(patients: int, rng: np.random.Generator) -> bool:
    """Whether the interval of generated minus real scores of a reading excludes 0; as many patients as reports."""
    own, is_generated = _halves(patients, rng)
    answers = np.clip(np.round(2 + rng.normal(size=2 * patients)[own] + 0.5 * rng.normal(size=(2, len(own)))), 0, 4)
    found = scores_of("anatomic", answers.astype(np.int64), is_generated, own).difference
    return found is not None and _sure(found.low, found.high)


def guess_is_beyond_chance(patients: int, rng: np.random.Generator) -> bool:
    """Whether chance lies outside the interval of a reader's guesses, the same for all images of a patient."""
    own, is_generated = _halves(patients, rng)
    found = guesses_of("P1", rng.integers(2, size=2 * patients)[own], is_generated, own)
    assert found.accuracy is not None and found.chance is not None
    return not found.accuracy.low <= found.chance <= found.accuracy.high


def readers_agree(patients: int, rng: np.random.Generator) -> bool:
    """Whether the interval of Krippendorff's alpha of three readers, who rate at random, excludes 0."""
    answers = rng.integers(5, size=(3, patients))
    found = agreements("anatomic", "abc", answers, clusters=np.arange(patients), categories=5, ordinal=True)
    alpha = found[0].kappa
    return alpha is not None and _sure(alpha.low, alpha.high)


SIMULATIONS: dict[str, Simulation] = {
    "the validation loss fell or rose": loss_fell,
    "a mean over categories is better or worse": mean_differs,
    "macro-F1 is raised or lowered": f1_differs,
    "generated images score otherwise than real ones": scores_differ,
    "a reader's guesses are beyond chance": guess_is_beyond_chance,
    "readers agree beyond chance (alpha)": readers_agree,
}


def shares(rounds: int, patients: tuple[int, ...] = PATIENTS, seed: int = 0) -> dict[str, list[float]]:
    """By sentence, the share of `rounds` in which it was said, for each number of patients."""
    found: dict[str, list[float]] = {}
    for name, simulate in SIMULATIONS.items():
        rng = np.random.default_rng(seed)
        found[name] = [float(np.mean([simulate(count, rng) for _ in range(rounds)])) for count in patients]
    return found


def _images(patients: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Names of the images' patients, and their numbers int[images]: one to eight images each."""
    own = np.repeat(np.arange(patients), rng.integers(1, 9, size=patients))
    return [f"p{number}" for number in own], own


def _halves(patients: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The clusters of the images of a reading, int[n], and which are generated, bool[n]: half of the clusters."""
    own = np.repeat(np.arange(2 * patients), rng.integers(1, 4, size=2 * patients))
    return own, own >= patients


def _sure(low: float, high: float) -> bool:
    return low > 0 or high < 0


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="simulations for each number of patients")
    arguments = parser.parse_args()
    print(f"| said without an effect, % of {arguments.rounds} | {' | '.join(map(str, PATIENTS))} |")
    print(f"|---|{'---|' * len(PATIENTS)}")
    for name, found in shares(arguments.rounds).items():
        print(f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in found)} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
