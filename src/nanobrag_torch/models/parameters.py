"""Continuous config fields as parameters and buffers of a torch module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def as_tensor(value: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number, a tensor or a sequence of both as one tensor; gradients of its entries stay connected."""
    if isinstance(value, Tensor):
        return value.to(dtype=dtype, device=device)
    if isinstance(value, tuple | list) and any(isinstance(entry, Tensor) for entry in value):
        return torch.stack([as_tensor(entry, dtype=dtype, device=device) for entry in value])
    return torch.as_tensor(value, dtype=dtype, device=device)


class ContinuousFields(nn.Module):
    """A module whose attributes of these names are the config's values as tensors.

    An `nn.Parameter` stays one, so that `parameters()` hands it to an optimiser; any other tensor or number becomes
    a buffer, through which gradients still flow. `refine(*names)` turns buffers into parameters.
    """

    def __init__(self, config: Any, names: Iterable[str], *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.config = config
        self.dtype, self._device = dtype, torch.device(device)
        for name in names:
            value = getattr(config, name)
            if isinstance(value, nn.Parameter) and value.dtype == dtype and value.device == self._device:
                self.register_parameter(name, value)
            else:
                tensor = None if value is None else as_tensor(value, dtype=dtype, device=self._device)
                self.register_buffer(name, tensor)

    def refine(self, *names: str) -> ContinuousFields:
        """Make these fields parameters, starting from their present values; returns the module."""
        for name in names:
            value = self._buffers.pop(name)
            if value is None:
                raise ValueError(f"{name} has no value to refine")
            self.register_parameter(name, nn.Parameter(value.clone()))
        return self

    def constant(self, values: Any) -> Tensor:
        """Fixed numbers as a tensor beside the fields (their dtype and device)."""
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the fields are."""
        tensor = next((t for t in (*self.parameters(), *self.buffers()) if t is not None), None)
        return self._device if tensor is None else tensor.device
