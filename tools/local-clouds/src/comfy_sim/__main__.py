"""`python -m comfy_sim`."""

from .cli import main

main()
