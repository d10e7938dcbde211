"""Reads models at the speed of the disk, in ComfyUI's place and falling back to it.

The modules here need the standard library only, and torch where their name says so. `launch.py` also loads them in
ComfyUI's own Python, which has no `comfy_worker`: they import each other relatively, and nothing else of the package.
"""
