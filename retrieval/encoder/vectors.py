"""Vector algebra on unit rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retrieval.errors import EncodingError


def mean_query(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Unit rows float32[n, d] -> their normalised mean, float32[1, d].

    Its inner product with a reference orders as the mean cosine similarity of the n queries does.
    Raises EncodingError where the rows cancel each other out, so that no direction is left.
    """
    mean = vectors.mean(axis=0, dtype=np.float64, keepdims=True)
    length = float(np.linalg.norm(mean))
    if not length > 1e-6:
        raise EncodingError("The query's vectors point in opposite directions: their mean has none. Search by one.")
    return (mean / length).astype(np.float32)
