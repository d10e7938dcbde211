"""Makes this folder a stand-in for ComfyUI's own: `python <COMFYUI_DIR>/main.py …` starts comfy-sim.

Only local-clouds points COMFYUI_DIR here. A bare interpreter runs it, so the source folder is put on the path first.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from comfy_sim.cli import main

if __name__ == "__main__":
    main()
