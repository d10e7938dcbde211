"""The numbers that torch's CPU generator draws, so that seeded noise is the real one's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 16
"""torch fills normals in blocks of 16 values (ATen, `normal_fill`)."""


def randn(seed: int, count: int) -> NDArray[np.float32]:
    """`count` values of `torch.randn` right after `torch.manual_seed(seed)` on a CPU; at least 16 of them.

    The generator is a 32-bit Mersenne twister; a value keeps 24 bits, and each block of 16 uniforms becomes
    16 normals by Box-Muller. When `count` is no multiple of 16, the last 16 values are drawn anew.
    """
    if count < BLOCK:
        return _few(seed, count)
    generator = np.random.MT19937()
    generator._legacy_seeding(seed & 0xFFFFFFFF)  # pyright: ignore  (the twister's own seeding, as torch's)
    values = _uniform(generator, count)
    whole = count - count % BLOCK
    values[:whole] = _box_muller(values[:whole])
    if whole != count:
        values[-BLOCK:] = _box_muller(_uniform(generator, BLOCK))
    return values


def _uniform(generator: np.random.MT19937, count: int) -> NDArray[np.float32]:
    raw = np.asarray(generator.random_raw(count), dtype=np.uint64)
    return ((raw & np.uint64(0xFFFFFF)).astype(np.float32)) * np.float32(2**-24)


def _box_muller(values: NDArray[np.float32]) -> NDArray[np.float32]:
    blocks = values.reshape(-1, BLOCK)
    first, second = 1 - blocks[:, : BLOCK // 2], blocks[:, BLOCK // 2 :]
    radius = np.sqrt(-2 * np.log(first))
    angle = np.float32(2 * np.pi) * second
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def _few(seed: int, count: int) -> NDArray[np.float32]:
    generator = np.random.MT19937()
    generator._legacy_seeding(seed & 0xFFFFFFFF)  # pyright: ignore
    normals: list[float] = []
    while len(normals) < count:
        high = np.asarray(generator.random_raw(4), dtype=np.uint64)
        wide = [(int(high[i]) << 32 | int(high[i + 1])) & ((1 << 53) - 1) for i in (0, 2)]
        u1, u2 = wide[0] * 2.0**-53, wide[1] * 2.0**-53
        radius = float(np.sqrt(-2 * np.log1p(-u2)))
        normals += [radius * float(np.cos(2 * np.pi * u1)), radius * float(np.sin(2 * np.pi * u1))]
    return np.array(normals[:count], dtype=np.float32)
