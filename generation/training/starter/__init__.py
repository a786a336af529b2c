"""How the starter's SDXL base and LoRA were trained. Stays in the checkout, not in the wheel."""
