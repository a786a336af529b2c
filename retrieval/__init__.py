"""A query becomes ranked cases: encoder, ingest, search, fusion, grouping by patient, evaluation, export.

Importing this package imports none of torch, open_clip or FAISS: names are resolved when first used (PEP
562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
