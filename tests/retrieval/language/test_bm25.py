"""Which texts contain a query's words: against sets of words."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.language.bm25 import ReportWords, content_words, words_of
from retrieval.language.english import function_words

texts = st.lists(st.sampled_from(["NILM", "no", "cells", "The", "of", "HSIL.", "(CIN", "3)", "Zellen"])).map(" ".join)


@given(st.lists(texts, min_size=1, max_size=5), st.lists(texts, min_size=1, max_size=3))
def test_a_text_contains_a_query_where_it_holds_all_its_words_but_function_words(
    reports: list[str], queries: list[str]
) -> None:
    index = ReportWords(reports)
    wanted = [content_words(query) for query in queries]
    found = index.batch_containing(wanted)
    for query, words, row in zip(queries, wanted, found, strict=True):
        assert set(words) == set(words_of(query)) - function_words()
        assert row.tolist() == [bool(words) and set(words) <= set(words_of(report)) for report in reports]
        assert np.array_equal(index.containing(words), row)


def test_a_negation_is_a_word_of_the_query() -> None:
    assert content_words("There is no evidence of the carcinoma.") == ("no", "evidence", "carcinoma")
    assert not {"no", "not", "without", "negative"} & function_words()
