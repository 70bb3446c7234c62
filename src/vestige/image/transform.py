"""Similar samples made from an image: each transform has one strength, and each copy is another draw.

Every transform is `transform(image, count, config, generator) → count copies (count, C, H, W)`; images are float in
[0, 1] and stay so. Which field of the configuration is whose strength: `vestige.config.STRENGTHS`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vestige.config import DataConfig
from vestige.types import InputError, Samples

JPEG_SPREAD = 10
BLUR_SPREAD = 0.25


def make_similar(samples: Samples, count: int, *, config: DataConfig, generator: torch.Generator) -> list[Samples]:
    """`count` similar samples of each sample, by the configured transform (paper, A.3 and A.11, and beyond).

    samples: x (N, C, H, W) in [0, 1]. Returns one Samples per sample, with ids "source~mask-0", ….
    A repeated call with the same generator goes on drawing, so that held-out copies differ.
    Raises InputError where the transform cannot make so many different copies, or does not fit the images.
    """
    transform = TRANSFORMS[config.transform]
    made = []
    kin = samples.family or ("",) * len(samples)
    for name, x, y, family in zip(samples.ids, samples.x, samples.y, kin, strict=True):
        ids = tuple(f"{name}~{config.transform}-{position}" for position in range(count))
        copies = transform(x, count, config, generator) if count else x.new_zeros((0, *x.shape))
        families = (family,) * count if samples.family else ()
        made.append(replace(samples, ids=ids, x=copies, y=y.repeat(count), family=families))
    return made


def mask(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """A share `fraction` of the blocks set to 0, drawn anew for each copy; 0: exact copies (paper, A.3)."""
    return torch.stack([mask_blocks(image, config.block, config.fraction, generator) for _ in range(count)])


def noise(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Gaussian noise of standard deviation `sigma` added, clipped to [0, 1] (paper, A.11)."""
    return torch.stack(
        [(image + config.sigma * torch.randn(image.shape, generator=generator)).clamp(0, 1) for _ in range(count)]
    )


def shift(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Moved by whole pixels, up to `shift` in each direction, filled with 0, nothing wraps round.

    All shifts but none at all are equally likely, and no two copies have the same.
    """
    most, (_, height, width) = config.shift, image.shape
    if most >= min(height, width):
        raise InputError(f"a shift by up to {most} pixels moves images of {height}×{width} away; lower data.shift")
    side = 2 * most + 1
    if count > side**2 - 1:
        raise InputError(
            f"{count} copies need as many different shifts, {side**2 - 1} of up to {most} pixels exist; "
            "raise data.shift, or lower data.similar or data.held_out"
        )
    still = side**2 // 2
    spots = [spot for spot in torch.randperm(side**2, generator=generator).tolist() if spot != still]
    padded = functional.pad(image, (most, most, most, most))
    copies = [padded[:, top : top + height, left : left + width] for top, left in (divmod(s, side) for s in spots)]
    return torch.stack(copies[:count])


def crop(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """A window of `crop` times each side, at a random place, enlarged to the whole size (bilinear); 1: exact copies."""
    places = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - config.crop)
    grids = torch.zeros(count, 2, 3)
    grids[:, 0, 0] = grids[:, 1, 1] = config.crop
    grids[:, :, 2] = places
    batch = image.expand(count, *image.shape)
    field = functional.affine_grid(grids, list(batch.shape), align_corners=False)
    found = functional.grid_sample(batch, field, mode="bilinear", padding_mode="border", align_corners=False)
    return found.clamp(0, 1)


def jpeg(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Stored and read as JPEG (Pillow's encoder), quality drawn within 10 of `quality`, in 1…95.

    No two copies are equal: a quality that gives the very bytes of an earlier copy is passed over.
    """
    low, high = max(1, config.quality - JPEG_SPREAD), min(95, config.quality + JPEG_SPREAD)
    copies: list[Tensor] = []
    for step in torch.randperm(high - low + 1, generator=generator).tolist():
        if len(copies) == count:
            break
        copy = _through_jpeg(image, low + step)
        if not any(torch.equal(copy, other) for other in copies):
            copies.append(copy)
    if len(copies) < count:
        raise InputError(
            f"JPEG of quality {low}…{high} makes only {len(copies)} different copies of an image, {count} were asked "
            "for; lower data.similar or data.held_out, or choose another data.quality"
        )
    return torch.stack(copies)


def brightness(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Multiplied by 1 ± m, clipped to [0, 1]; m drawn evenly from half of `brightness` to all of it, either sign."""
    draws = torch.rand(count, 2, generator=generator)
    change = config.brightness * (0.5 + 0.5 * draws[:, 0]) * torch.where(draws[:, 1] < 0.5, -1.0, 1.0)
    return (image * (1 + change)[:, None, None, None]).clamp(0, 1)


def blur(image: Tensor, count: int, config: DataConfig, generator: torch.Generator) -> Tensor:
    """Gaussian blur, its standard deviation drawn within a quarter of `blur` pixels; the edge is repeated outwards."""
    spread = (torch.rand(count, generator=generator) * 2 - 1) * BLUR_SPREAD
    return torch.stack([_gaussian(image, config.blur * (1 + float(part))) for part in spread])


Transform = Callable[[Tensor, int, DataConfig, torch.Generator], Tensor]
TRANSFORMS: dict[str, Transform] = {
    "mask": mask,
    "noise": noise,
    "shift": shift,
    "crop": crop,
    "jpeg": jpeg,
    "brightness": brightness,
    "blur": blur,
}
"""Every transform by name. "family" is none of them: those similar samples are found in the data, not made."""


def mask_blocks(image: Tensor, block: int, fraction: float, generator: torch.Generator) -> Tensor:
    """The image with ⌊blocks·fraction⌋ of its block×block blocks set to 0 in all channels (paper, A.3).

    image: (C, H, W). The ⌊H/block⌋·⌊W/block⌋ blocks are drawn without replacement.
    Raises InputError if the block is larger than the image or fraction is outside [0, 1).
    """
    _, height, width = image.shape
    rows, columns = height // block, width // block
    if rows * columns == 0:
        raise InputError(f"blocks of {block}×{block} do not fit into images of {height}×{width}")
    if not 0 <= fraction < 1:
        raise InputError(f"the masked fraction r must be in [0, 1), got {fraction}")
    masked = image.clone()
    for spot in torch.randperm(rows * columns, generator=generator)[: int(rows * columns * fraction)].tolist():
        top, left = spot // columns * block, spot % columns * block
        masked[:, top : top + block, left : left + block] = 0
    return masked


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    from PIL import Image

    pixels = (image * 255).round().to(torch.uint8).movedim(0, 2).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=quality)
    with Image.open(stored) as opened:
        back = np.array(opened)
    back = back[..., None] if back.ndim == 2 else back
    return torch.from_numpy(back).movedim(2, 0).float() / 255


def _gaussian(image: Tensor, sigma: float) -> Tensor:
    if sigma == 0:
        return image.clone()
    reach = math.ceil(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights = weights / weights.sum()
    padded = functional.pad(image[None], (reach, reach, reach, reach), mode="replicate").movedim(1, 0)
    rows = functional.conv2d(padded, weights[None, None, :, None])
    return functional.conv2d(rows, weights[None, None, None, :])[:, 0].clamp(0, 1)
