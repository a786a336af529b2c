"""The archive: cases, images, reports and embeddings, and the vector index derived from them.

`Archive` is the one door; `read_manifest` reads what comes in; the rest are the records that cross the wall.
Names are resolved when first used, so that importing this room loads neither SQLAlchemy nor FAISS.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
