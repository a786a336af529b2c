"""The archive: cases, images, reports and embeddings, and the vector index derived from them.

`Archive` is the API; `read_manifest` reads its input; the rest are records and errors. Names are resolved when first
used, so that importing this package loads neither SQLAlchemy nor FAISS.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
