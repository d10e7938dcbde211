"""comfy-sim: a process with ComfyUI's protocol and command line, honest about what it simulates.

Prompts are validated against the catalogue of ComfyUI 0.3.64, model-free nodes run for real on numpy and
Pillow, and nodes that need a model are simulated: a deterministic picture, visibly marked SIMULATED.
"""

COMFYUI_VERSION = "0.3.64"
"""The ComfyUI whose catalogue and messages are reproduced."""
