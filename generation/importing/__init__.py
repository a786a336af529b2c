"""LoRAs and bases of others brought into folders of ours: safetensors in diffusers' layout, and a model card."""
