"""The models of the benchmark, and a workflow for each that makes one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """A model's files, below the models folder in the order of loading, and the edge of its picture in pixels."""

    files: tuple[str, ...]
    size: int


MODELS = {
    "sd15": Model(("checkpoints/random-sd15.safetensors",), 512),
    "sdxl": Model(("checkpoints/random-sdxl.safetensors",), 1024),
    "flux": Model(
        (
            "diffusion_models/random-flux.safetensors",
            "text_encoders/random-clip-l.safetensors",
            "text_encoders/random-t5xxl.safetensors",
            "vae/random-flux-vae.safetensors",
        ),
        1024,
    ),
}


def workflow(model: str, *, seed: int, size: int, steps: int) -> dict[str, Any]:
    """A workflow in API format that makes one picture of `size` by `size` pixels."""
    loaders, unet, clip, vae = _flux() if model == "flux" else _checkpoint(MODELS[model].files[0])
    return {
        **loaders,
        "positive": _node("CLIPTextEncode", text="a lighthouse at dusk", clip=clip),
        "negative": _node("CLIPTextEncode", text="", clip=clip),
        "latent": _node(
            "EmptySD3LatentImage" if model == "flux" else "EmptyLatentImage",
            width=size,
            height=size,
            batch_size=1,
        ),
        "sampler": _node(
            "KSampler",
            model=unet,
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["latent", 0],
            seed=seed,
            steps=steps,
            cfg=1.0 if model == "flux" else 7.0,
            sampler_name="euler",
            scheduler="simple",
            denoise=1.0,
        ),
        "decoded": _node("VAEDecode", samples=["sampler", 0], vae=vae),
        "saved": _node("SaveImage", images=["decoded", 0], filename_prefix="coldstart"),
    }


def _checkpoint(file: str) -> tuple[dict[str, Any], list[Any], list[Any], list[Any]]:
    node = _node("CheckpointLoaderSimple", ckpt_name=file.partition("/")[2])
    return {"loader": node}, ["loader", 0], ["loader", 1], ["loader", 2]


def _flux() -> tuple[dict[str, Any], list[Any], list[Any], list[Any]]:
    unet, clip, t5, vae = (file.partition("/")[2] for file in MODELS["flux"].files)
    loaders = {
        "unet": _node("UNETLoader", unet_name=unet, weight_dtype="default"),
        "clip": _node("DualCLIPLoader", clip_name1=clip, clip_name2=t5, type="flux"),
        "vae": _node("VAELoader", vae_name=vae),
    }
    return loaders, ["unet", 0], ["clip", 0], ["vae", 0]


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
