"""GPU types and data centres of the local RunPod's catalogue."""

from __future__ import annotations

from typing import Any

POOLS = {
    "AMPERE_16": ("NVIDIA RTX A4000", "NVIDIA RTX 4000 Ada Generation", "NVIDIA RTX 2000 Ada Generation"),
    "AMPERE_24": ("NVIDIA RTX A4500", "NVIDIA RTX A5000", "NVIDIA GeForce RTX 3090"),
    "ADA_24": ("NVIDIA L4", "NVIDIA GeForce RTX 4090"),
    "ADA_32_PRO": ("NVIDIA GeForce RTX 5090",),
    "AMPERE_48": ("NVIDIA A40", "NVIDIA RTX A6000"),
    "ADA_48_PRO": ("NVIDIA L40S", "NVIDIA L40", "NVIDIA RTX 6000 Ada Generation"),
    "AMPERE_80": ("NVIDIA A100 80GB PCIe", "NVIDIA A100-SXM4-80GB"),
    "ADA_80_PRO": ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA H100 NVL"),
    "BLACKWELL_96": ("NVIDIA RTX PRO 6000 Blackwell Server Edition",),
    "HOPPER_141": ("NVIDIA H200",),
    "BLACKWELL_180": ("NVIDIA B200",),
}
"""GPU types by pool: docs.runpod.io/flash/configuration/gpu-types, read 2026-11-25."""

NOT_IN_A_POOL = ("NVIDIA GeForce RTX 3080", "NVIDIA A30")

MEMORY_GB = {
    "AMPERE_16": 16,
    "AMPERE_24": 24,
    "ADA_24": 24,
    "ADA_32_PRO": 32,
    "AMPERE_48": 48,
    "ADA_48_PRO": 48,
    "AMPERE_80": 80,
    "ADA_80_PRO": 80,
    "BLACKWELL_96": 96,
    "HOPPER_141": 141,
    "BLACKWELL_180": 180,
}

USD_PER_SECOND = {
    "NVIDIA GeForce RTX 4090": 0.00031,
    "NVIDIA L40S": 0.00053,
    "NVIDIA A100 80GB PCIe": 0.00076,
    "NVIDIA H100 80GB HBM3": 0.00116,
}
"""Serverless prices: docs.runpod.io/serverless/pricing, read 2026-11-24. Nothing is sold here; the others have none."""


def gpu_types(availability: str | None) -> list[dict[str, Any]]:
    """The catalogue as GET /v2/catalog/gpus lists it."""
    pooled = [_gpu_type(name, pool) for pool, names in POOLS.items() for name in names]
    every = [*pooled, *(_gpu_type(name, None) for name in NOT_IN_A_POOL)]
    return [{**gpu, "availability": availability} for gpu in every] if availability else every


def _gpu_type(name: str, pool: str | None) -> dict[str, Any]:
    price: dict[str, float] = {"secure": 0.0, "community": 0.0}
    if name in USD_PER_SECOND:
        price["serverless"] = round(USD_PER_SECOND[name] * 3600, 4)
    return {
        "id": name,
        "name": name.removeprefix("NVIDIA ").removeprefix("GeForce "),
        "pool": pool,
        "manufacturer": "NVIDIA",
        "memory": MEMORY_GB[pool] if pool else 10,
        "secure": True,
        "community": False,
        "price": price,
        "maxCount": {"secure": 8, "community": 0},
    }
