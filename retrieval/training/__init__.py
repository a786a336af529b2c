"""Training: an encoder on one's own pairs (`encoder_tuning.train_encoder`), and how the starter was made: a small CLIP
trained on phantoms and licensed smears, and COIN's parts on its text tower.
"""
