"""How the starter's SDXL base and LoRA are made: drawn phantoms, a vocabulary, an autoencoder, a denoiser.

Nothing here is needed to generate an image; `python -m retrieval.training.starter` runs it whole (see `make starter`).
"""
