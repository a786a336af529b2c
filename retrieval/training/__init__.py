"""Training: an encoder on one's own pairs (`encoder_tuning.train_encoder`), and the starter's CLIP on phantoms and
licensed smears.
"""
