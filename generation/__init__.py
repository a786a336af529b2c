"""Generation: a report becomes synthetic cytology images. Knows nothing of embeddings, archives or views.

Names resolve on first use (PEP 562), so that importing the package imports no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
