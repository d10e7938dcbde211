"""Writes models of real architectures with random weights: `python random_weights.py COMFYUI MODEL FOLDER`.

Runs in ComfyUI's Python, and asks ComfyUI for the names and shapes of every tensor, so that it loads the files as it
loads real ones. Values are random bits with a fixed exponent: small numbers, nothing that a disk could compress or
leave out. Prints one JSON object: the files with their bytes, and the seconds that writing took.
"""

# torch and comfy are there when ComfyUI's Python runs this.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 64 << 20
"""Bytes made and written at once by each thread."""

THREADS = 8

FLUX = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 768,
    "context_in_dim": 4096,
    "hidden_size": 3072,
    "mlp_ratio": 4.0,
    "num_heads": 24,
    "depth": 19,
    "depth_single_blocks": 38,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
}
"""Flux.1 dev: 11.9 billion parameters."""

SD15 = {
    "use_checkpoint": False,
    "image_size": 32,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "adm_in_channels": None,
    "in_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth_middle": 1,
    "use_linear_in_transformer": False,
    "context_dim": 768,
    "num_heads": 8,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}

SDXL = {
    "use_checkpoint": False,
    "image_size": 32,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
    "in_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "channel_mult": [1, 2, 4],
    "transformer_depth_middle": 10,
    "use_linear_in_transformer": True,
    "context_dim": 2048,
    "num_head_channels": 64,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
}

VAE = {
    "double_z": True,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


@dataclass(frozen=True)
class Kind:
    """A type of the file: its name, numpy's unsigned integer of its width, the bits kept random, the exponent set."""

    name: str
    integer: str
    random: int
    exponent: int

    @property
    def nbytes(self) -> int:
        """Bytes of one element."""
        return int(self.integer[1:])


KINDS = {
    "torch.float16": Kind("F16", "u2", 0x83FF, 9 << 10),  # 2^-6
    "torch.bfloat16": Kind("BF16", "u2", 0x807F, 121 << 7),
    "torch.float32": Kind("F32", "u4", 0x807FFFFF, 121 << 23),
}


def shapes_of(model: str) -> dict[str, dict[str, Any]]:
    """File name, below the models folder, to its tensors, all on torch's meta device."""
    import torch

    with torch.device("meta"):
        return {"sd15": _sd15, "sdxl": _sdxl, "flux": _flux}[model](torch)


def _unet(config: Mapping[str, Any], torch: Any) -> dict[str, Any]:
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    unet = UNetModel(**config, dtype=torch.float16, device="meta", operations=comfy.ops.disable_weight_init)
    return unet.state_dict()


def _vae(channels: int, dtype: Any, quant: bool) -> dict[str, Any]:
    from comfy.ldm.models.autoencoder import AutoencoderKL, AutoencodingEngine

    config = {**VAE, "z_channels": channels}
    if quant:
        return AutoencoderKL(ddconfig=config, embed_dim=channels).to(dtype).state_dict()
    parts = "comfy.ldm.modules.diffusionmodules.model."
    engine = AutoencodingEngine(
        regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
        encoder_config={"target": f"{parts}Encoder", "params": config},
        decoder_config={"target": f"{parts}Decoder", "params": config},
    )
    return engine.to(dtype).state_dict()


def _checkpoint(config: Any, unet: Any, clip: Any, vae: Any) -> dict[str, Any]:
    return {
        **config.process_unet_state_dict_for_saving(unet),
        **config.process_clip_state_dict_for_saving(clip),
        **config.process_vae_state_dict_for_saving(vae),
    }


def _sd15(torch: Any) -> dict[str, dict[str, Any]]:
    import comfy.sd1_clip
    import comfy.supported_models

    clip = comfy.sd1_clip.SD1ClipModel(device="meta", dtype=torch.float16).state_dict()
    config = comfy.supported_models.SD15(dict(SD15))
    tensors = _checkpoint(config, _unet(SD15, torch), clip, _vae(4, torch.float16, True))
    return {"checkpoints/random-sd15.safetensors": tensors}


def _sdxl(torch: Any) -> dict[str, dict[str, Any]]:
    import comfy.sdxl_clip
    import comfy.supported_models

    clip = comfy.sdxl_clip.SDXLClipModel(device="meta", dtype=torch.float16).state_dict()
    config = comfy.supported_models.SDXL(dict(SDXL))
    tensors = _checkpoint(config, _unet(SDXL, torch), clip, _vae(4, torch.float16, True))
    return {"checkpoints/random-sdxl.safetensors": tensors}


def _flux(torch: Any) -> dict[str, dict[str, Any]]:
    import comfy.clip_model
    import comfy.ldm.flux.model
    import comfy.ops
    import comfy.text_encoders.t5

    operations = comfy.ops.disable_weight_init
    comfy_folder = Path(comfy.ops.__file__).parent
    t5_config = json.loads(
        (comfy_folder / "text_encoders" / "t5_config_xxl.json").read_text(encoding="utf-8")
    )
    clip_config = json.loads((comfy_folder / "sd1_clip_config.json").read_text(encoding="utf-8"))
    flux = comfy.ldm.flux.model.Flux(**FLUX, dtype=torch.bfloat16, device="meta", operations=operations)
    t5 = comfy.text_encoders.t5.T5(t5_config, torch.float16, "meta", operations)
    clip = comfy.clip_model.CLIPTextModel(clip_config, torch.float16, "meta", operations)
    return {
        "diffusion_models/random-flux.safetensors": flux.state_dict(),
        "text_encoders/random-t5xxl.safetensors": t5.state_dict(),
        "text_encoders/random-clip-l.safetensors": clip.state_dict(),
        "vae/random-flux-vae.safetensors": _vae(16, torch.float32, False),
    }


def write_file(path: Path, tensors: Mapping[str, Any]) -> int:
    """Writes one safetensors file of the tensors' names, shapes and types; returns its bytes."""
    header: dict[str, Any] = {}
    runs: list[tuple[int, int, Kind]] = []
    place = 0
    for name, tensor in tensors.items():
        kind = KINDS.get(str(tensor.dtype))
        if kind is None:
            continue  # position ids and the like, which ComfyUI makes itself
        nbytes = tensor.numel() * kind.nbytes
        header[name] = {
            "dtype": kind.name,
            "shape": list(tensor.shape),
            "data_offsets": [place, place + nbytes],
        }
        runs.append((place, nbytes, kind))
        place += nbytes
    document = json.dumps(header).encode()
    document += b" " * (-len(document) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = 8 + len(document)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(document)) + document)
        file.flush()
        blocks = [
            (file.fileno(), start + offset + done, min(BLOCK, nbytes - done), kind)
            for offset, nbytes, kind in runs
            for done in range(0, nbytes, BLOCK)
        ]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda block: _write_block(*block), blocks))
        os.fsync(file.fileno())
    return start + place


def _write_block(fd: int, offset: int, nbytes: int, kind: Kind) -> None:
    import numpy

    generator = numpy.random.Generator(numpy.random.SFC64(offset))
    words = generator.integers(0, 1 << 64, size=-(-nbytes // 8), dtype=numpy.uint64).view(kind.integer)
    words &= kind.random
    words |= kind.exponent
    view = words.data.cast("B")[:nbytes]
    while len(view):
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def main(comfyui: str, model: str, folder: str) -> None:
    """Writes what is missing."""
    sys.path[0] = comfyui
    from comfy.cli_args import args

    args.cpu = True
    started = time.monotonic()
    files: dict[str, int] = {}
    for name, tensors in shapes_of(model).items():
        path = Path(folder) / name
        partial = path.with_suffix(".partial")
        files[name] = path.stat().st_size if path.exists() else write_file(partial, tensors)
        if not path.exists():
            partial.rename(path)
    print(json.dumps({"files": files, "seconds": time.monotonic() - started}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
