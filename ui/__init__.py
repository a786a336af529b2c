"""The user interfaces: the `coin` command, its settings, the Streamlit view.

Importing this package imports nothing heavy; names are resolved when first used (PEP 562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
