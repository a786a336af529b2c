"""Diagnostics of a result: label agreement among the retrieved cases, the novelty check, and possible confounders.

They describe what was retrieved, never the query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.text.score import channel_name
from ui.text.search import exceeds_chance
from ui.view.escape import escape, without_commands

if TYPE_CHECKING:
    from retrieval import ResultDiagnostics, SystemAgreement

NOT_A_DIAGNOSIS: Final = "This describes the retrieved cases. It is no finding about the query."


def show_warnings(diagnostics: ResultDiagnostics) -> None:
    """Show what must be read before the cases: that nothing comparable was found."""
    for judged in diagnostics.comparability:
        if not judged.comparable:
            st.warning(f"**By {channel_name(judged.channel)}.** {escape(judged.words)}", icon=":material/search_off:")


def agreement_words(diagnostics: ResultDiagnostics) -> str:
    """How far the cases agree, in one line; empty where that says nothing, since none is comparable."""
    leading = diagnostics.agreement.leading
    return "" if leading is None or diagnostics.comparable is False else leading.words


def show_diagnostics(diagnostics: ResultDiagnostics) -> None:
    """Show all diagnostics."""
    st.caption(NOT_A_DIAGNOSIS)
    _show_agreement(diagnostics)
    st.subheader("Is anything comparable?", anchor=False)
    if not diagnostics.comparability:
        st.text("None of the channels that were searched can judge this.")
    for judged in diagnostics.comparability:
        st.markdown(f"**By {channel_name(judged.channel)}.** {escape(judged.words)}")
    for missing in diagnostics.not_judged:
        st.caption(f"**By {channel_name(missing.channel)}.** {escape(without_commands(missing.reason))}")
    _show_confounders(diagnostics)


def _show_agreement(diagnostics: ResultDiagnostics) -> None:
    agreement = diagnostics.agreement
    st.subheader("Agreement among the retrieved cases", anchor=False)
    if not diagnostics.understood:
        st.text("Not shown: the query is not understood.")
        return
    if diagnostics.comparable is False:
        few = any(judged.near for judged in diagnostics.comparability)
        comparable = "few cases of the archive are" if few else "no case of the archive is"
        st.text(f"Not shown: {comparable} comparable to the query.")
        return
    if not agreement.systems:
        st.text("None of the retrieved cases has a category of a known reporting system.")
    for system in agreement.systems:
        is_query_system = system.system == agreement.asked
        source = (
            f", the reporting system of the query's {diagnostics.told.by}"
            if is_query_system and diagnostics.told.by
            else ""
        )
        st.markdown(f"**{escape(system.system)}**{source}")
        _show_system(system)
    rest = []
    for count, words in (
        (agreement.without_category, "have no category"),
        (agreement.unknown_system, "have a category of a system that is not known here"),
        (agreement.unknown_category, "have a category that their system does not know"),
    ):
        if count:
            rest.append(f"{count} of the {agreement.patients} {words}")
    if rest:
        st.caption(f"{'; '.join(rest)}.")


def _show_system(system: SystemAgreement) -> None:
    st.dataframe(
        {
            "category": [share.category for share in system.categories],
            "tier": [share.tier for share in system.categories],
            "cases": [share.patients for share in system.categories],
            "share": [share.share for share in system.categories],
        },
        hide_index=True,
        width="stretch",
        column_config={"share": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
    )
    if system.entropy is None:
        return
    words = [
        f"Entropy {system.entropy_bits:.2f} bits, {system.entropy:.0%} of the most there could be "
        "(0: all the same; 100 %: uniform)."
    ]
    if system.tiers_apart:
        words.append(
            f"Tiers from {system.lowest_tier} to {system.highest_tier}, on average {system.tier_deviation:.1f} steps "
            "from the median."
        )
    if system.non_diagnostic:
        words.append(f"{system.non_diagnostic} non-diagnostic, outside the order of the tiers.")
    if system.derived:
        words.append(f"{system.derived} categories were extracted from the report's text.")
    st.caption(escape(" ".join(words)))


def _show_confounders(diagnostics: ResultDiagnostics) -> None:
    audit = diagnostics.nuisance
    st.subheader("Possible confounders: what the hits share that should not matter", anchor=False)
    if not audit.shares:
        st.text("Slide, stain, preparation, source and scale are not known.")
        return
    if not audit.of_query:
        st.caption("The query's values are not known: shown are the most frequent values among the hits.")
    st.dataframe(
        {
            "": [share.field for share in audit.shares],
            "value": [share.value for share in audit.shares],
            "hits": [f"{share.hits} of {share.of}" for share in audit.shares],
            "by chance": [f"{share.expected:.1f}" for share in audit.shares],
            "by chance at the hits' sites": [f"{share.expected_at_sites:.1f}" for share in audit.shares],
            "probability of as many there": [f"{share.tail_at_sites:.2g}" for share in audit.shares],
        },
        hide_index=True,
        width="stretch",
    )
    exceeding = [share.field for share in audit.shares if exceeds_chance(share)]
    if exceeding:
        st.info(
            f"More hits share the {' and the '.join(exceeding)} than expected by chance at these sites: it may be "
            "the reason that they are hits, rather than their cells. Filter by it to find out."
        )
