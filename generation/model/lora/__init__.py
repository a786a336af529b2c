"""LoRAs as others publish them: names and layouts understood, changes computed, and fused into a base's weights."""
