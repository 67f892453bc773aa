"""Continuous config fields as parameters and buffers of a torch module."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..conventions import Frame
from ..quirks import Quirks


def as_tensor(value: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number, a tensor or a nested sequence of both as one tensor; gradients of its entries stay connected."""
    if isinstance(value, Tensor):
        return value.to(dtype=dtype, device=device)
    if _holds_tensor(value):
        return torch.stack([as_tensor(entry, dtype=dtype, device=device) for entry in value])
    return torch.as_tensor(value, dtype=dtype, device=device)


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, tuple | list) and any(isinstance(entry, Tensor) or _holds_tensor(entry)
                                                   for entry in value)


class ContinuousFields(nn.Module):
    """A module whose attributes of these names are the config's values as tensors.

    An `nn.Parameter` stays one, so that `parameters()` hands it to an optimiser; any other tensor or number becomes
    a buffer, through which gradients still flow. `refine(*names)` turns buffers into parameters. Whatever a field is
    stored as (`.to(torch.float32)`, a float32 parameter), reading it gives `dtype`, in which all set-up is done, and a
    tensor of shape (1,) reads as the number in it, but for the fields named in `lists`.
    """

    lists: tuple[str, ...] = ()
    frame: Frame
    quirks: Quirks

    def __init__(self, config: Any, names: Iterable[str], *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.config = config
        self.dtype, self._device = dtype, torch.device(device)
        for name in names:
            value = getattr(config, name)
            if isinstance(value, nn.Parameter):
                self.register_parameter(name, value)
            else:
                tensor = None if value is None else as_tensor(value, dtype=dtype, device=self._device)
                self.register_buffer(name, tensor)
        if next(self.parameters(), None) is not None:
            self.to(self._device)

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if not isinstance(value, Tensor):
            return value
        value = value.to(self.dtype)
        return value[0] if value.shape == (1,) and name not in self.lists else value

    def seen(self, frame: Frame, quirks: Quirks) -> Self:
        """The same fields in a frame and with faults: whatever is set, moved or refined here is so there as well."""
        if (self.frame, self.quirks) == (frame, quirks):
            return self
        view = copy.copy(self)  # a shallow copy of a module has its parameters and buffers, not others like them
        view.frame, view.quirks = frame, quirks
        return view

    def refine(self, *names: str) -> Self:
        """Make these fields parameters, starting from their present values; returns the module."""
        for name in names:
            if name in self._parameters:
                continue
            value = self._buffers.get(name)
            if value is None:
                reason = "it has no value" if name in self._buffers else "there is no such field"
                raise ValueError(f"{type(self).__name__}.refine: cannot refine {name}: {reason}")
            del self._buffers[name]
            self.register_parameter(name, nn.Parameter(value.detach().clone()))
        return self

    def constant(self, values: Any) -> Tensor:
        """Fixed numbers as a tensor beside the fields (their dtype and device)."""
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    @property
    def fields(self) -> list[Tensor]:
        """Every field that has a value, as it is kept."""
        return [field for field in (*self._parameters.values(), *self._buffers.values()) if field is not None]

    @property
    def device(self) -> torch.device:
        """Where the fields are."""
        return next((field.device for field in self.fields), self._device)
