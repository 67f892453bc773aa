"""The pixels of a run in raster order: a rectangle of the detector, or those of it that a mask leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import DetectorConfig


@dataclass(frozen=True)
class Raster:
    """Rendered pixels, numbered from 0 along the raster; nothing as long as the image is made before it is asked for.

    width: of the detector. left, bottom: first fast and slow number of the region; columns, rows: its extent.
    chosen: raster indices of the whole detector, (N,) ascending, where a mask leaves only these.
    """

    width: int
    height: int
    left: int
    bottom: int
    columns: int
    rows: int
    chosen: Tensor | None
    device: torch.device

    @classmethod
    def of(cls, config: DetectorConfig, device: torch.device) -> Raster:
        """Pixels inside region of interest and mask."""
        xmin, xmax, ymin, ymax = config.roi
        region = (xmin, ymin, max(0, xmax - xmin + 1), max(0, ymax - ymin + 1))
        chosen = None
        if config.mask_array is not None:
            rendered = config.region & np.asarray(config.mask_array, dtype=bool)
            chosen = torch.as_tensor(np.flatnonzero(rendered), device=device)
        return cls(config.fpixels, config.spixels, *region, chosen, device)

    def __len__(self) -> int:
        return self.columns * self.rows if self.chosen is None else len(self.chosen)

    @property
    def whole(self) -> bool:
        """Whether every pixel of the detector is rendered."""
        return self.chosen is None and (self.columns, self.rows) == (self.width, self.height)

    def indices(self, part: slice | None = None) -> Tensor:
        """Raster indices slow·width + fast of rendered pixels start..stop, (n,) int64."""
        start, stop, _ = (part or slice(None)).indices(len(self))
        if self.chosen is not None:
            return self.chosen[start:stop]
        number = torch.arange(start, stop, device=self.device)
        if self.columns == self.width:
            return number + self.bottom * self.width
        row = torch.div(number, max(1, self.columns), rounding_mode="floor")
        return (row + self.bottom) * self.width + (number - row * self.columns) + self.left

    def coordinates(self, part: slice | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Slow and fast pixel numbers (n,) of rendered pixels start..stop."""
        index = self.indices(part).to(torch.float64)
        slow = torch.floor(index / self.width)  # exact below 2^53, and faster than to divide whole numbers
        return slow.to(dtype), (index - slow * self.width).to(dtype)

    def whole_rows(self, pixels: int) -> int:
        """This many pixels, or somewhat fewer where they then fill rows."""
        return pixels if self.chosen is not None or pixels < self.columns else pixels - pixels % self.columns

    def grid(self, part: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The same as a column (m, 1) and a row (1, columns) where the pixels are those of whole rows."""
        if self.chosen is not None or part.start % self.columns or part.stop % self.columns:
            return self.coordinates(part, dtype)
        first, last = part.start // self.columns + self.bottom, part.stop // self.columns + self.bottom
        return (torch.arange(first, last, dtype=dtype, device=self.device)[:, None],
                torch.arange(self.left, self.left + self.columns, dtype=dtype, device=self.device)[None])

    def position(self, fast: float, slow: float) -> int | None:
        """Number, along the raster, of the rendered pixel that holds a point given in pixels."""
        if not (self.left <= fast < self.left + self.columns and self.bottom <= slow < self.bottom + self.rows):
            return None
        index = int(slow) * self.width + int(fast)
        if self.chosen is None:
            return (int(slow) - self.bottom) * self.columns + int(fast) - self.left
        found = int(torch.searchsorted(self.chosen, index))
        return found if found < len(self) and int(self.chosen[found]) == index else None

    def image(self, values: Tensor) -> Tensor:
        """The image (..., height, width) of values (..., N) at the rendered pixels; 0 elsewhere."""
        leading = values.shape[:-1]
        if self.whole:
            return values.reshape(*leading, self.height, self.width)
        empty = torch.zeros(*leading, self.height * self.width, dtype=values.dtype, device=values.device)
        return empty.index_copy(-1, self.indices(), values).reshape(*leading, self.height, self.width)


def filled(pixels: Tensor, chunks: Iterable[tuple[slice, Tensor]]) -> Tensor:
    """Chunks written into pixels, each forgotten at once."""
    for part, values in chunks:
        pixels[part] = values
    return pixels


def gathered(like: Tensor, chunks: Iterable[tuple[slice, Tensor]]) -> Tensor:
    """Chunks side by side, as differentiation and tensors of other devices need them."""
    return torch.cat([like.new_empty(0), *(values for _, values in chunks)])
