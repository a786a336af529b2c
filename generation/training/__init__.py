"""Training: a LoRA on one's own image-report pairs (`lora.train_lora`), and the parts of the starter.

    data/{pairs, holdout, crops, shards, latent_cache} ─► data/lora_material ─┐
    adapter, noise, step_sampling, loss, training_run ────────────────────────┴─► lora_run ─► lora_card, sample_sheet

The starter: rendered phantoms, a vocabulary, an autoencoder, a denoiser; `python -m retrieval.training.starter.train`
trains it whole. Nothing here is needed to generate an image.
"""
