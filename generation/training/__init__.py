"""Training: a LoRA on one's own image-report pairs (`lora.train_lora`), and how the starter's base and LoRA were made.

    pairs, holdout, views, encodings ─► lora_material ─┐
    adapter, noise, draws, denoising ──────────────────┴─► lora_run ─► lora_card, sample_sheet, checkpoint

The starter: drawn phantoms, a vocabulary, an autoencoder, a denoiser; `python -m retrieval.training.starter.train` runs
it whole. Nothing here is needed to generate an image.
"""
