"""`python -m ui` is `coin`, also where the project is not installed."""

from ui.cli import main

main()
