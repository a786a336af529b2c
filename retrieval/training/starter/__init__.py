"""How the starter's encoder was trained. Stays in the checkout, not in the wheel."""
