"""How the starter is made: a small CLIP trained on phantoms and licensed smears, and COIN's parts on its text tower."""
