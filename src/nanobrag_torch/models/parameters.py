"""Continuous config fields as parameters and buffers of a torch module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..config import plain
from ..conventions import Frame
from ..quirks import Quirks


def as_tensor(value: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number, an array, a tensor or a nested sequence of them as one tensor.

    Gradients of tensors stay connected; memory is shared with a tensor alone, and only if it is of that kind already.
    """
    if isinstance(value, Tensor):
        return value.to(dtype=dtype, device=device)
    if _holds_tensor(value):
        return torch.stack([as_tensor(entry, dtype=dtype, device=device) for entry in value])
    return torch.tensor(value, dtype=dtype, device=device)


def _holds_tensor(value: Any) -> bool:
    return isinstance(value, tuple | list) and any(isinstance(entry, Tensor) or _holds_tensor(entry)
                                                   for entry in value)


class ContinuousFields(nn.Module):
    """A module whose attributes of these names are the config's values as tensors.

    An `nn.Parameter` stays one, so that `parameters()` hands it to an optimiser; any other tensor or number becomes
    a buffer, through which gradients still flow. A buffer follows the tensors that it was given as, also those of
    another dtype or within a sequence, until it is written to itself; numbers, NumPy's too, are copied once.
    `refine(*names)` turns buffers into parameters, which follow nothing. Whatever a field is
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
        self._followed: dict[str, tuple[Any, Tensor]] = {}
        for name in names:
            self._keep(name, getattr(config, name))
        if next(self.parameters(), None) is not None:
            self.to(self._device)

    def _keep(self, name: str, value: Any) -> None:
        """Make a value the field of this name, in place of what it was."""
        for store in (self._parameters, self._buffers, self._followed):
            store.pop(name, None)
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
            return
        self.register_buffer(name, None if value is None else as_tensor(value, dtype=self.dtype, device=self.device))
        if isinstance(value, Tensor) or _holds_tensor(value):
            self._followed[name] = value, self._buffers[name]

    def _follows(self, name: str) -> bool:
        """Whether a field is what was last made of the tensors that it was given as."""
        given, made = self._followed[name]
        unwritten = made is given or made.is_inference() or made._version == 0
        return unwritten and self._buffers.get(name) is made

    def follow(self, *names: str) -> None:
        """Make these buffers, or all, what the tensors are now that they were given as; whatever reads a field does."""
        for name in filter(self._follows, names or tuple(self._followed)):
            given, made = self._followed[name]
            self._buffers[name] = as_tensor(given, dtype=self.dtype, device=made.device)
            self._followed[name] = given, self._buffers[name]

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """The fields that have a value, as they are now; arguments are those of torch's modules."""
        self.follow()
        return super().state_dict(*arguments, **options)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        following = [name for name in self._followed if self._follows(name)]
        super()._apply(fn, recurse)
        for name in following:
            self._followed[name] = self._followed[name][0], self._buffers[name]
        return self

    def __getattr__(self, name: str) -> Any:
        if name in self._followed:
            self.follow(name)
        value = super().__getattr__(name)
        if not isinstance(value, Tensor):
            return value
        value = value.to(self.dtype)
        return value[0] if value.shape == (1,) and name not in self.lists else value

    def seen(self, frame: Frame, quirks: Quirks) -> Self:
        """The same fields in a frame and with faults: whatever is set, moved or refined here is so there as well."""
        if (self.frame, self.quirks) == (frame, quirks):
            return self
        view = copy.copy(self)  # a shallow copy has the module's own lists of parameters and buffers
        view.frame, view.quirks = frame, quirks
        return view

    def refine(self, *names: str) -> Self:
        """Make these fields parameters, starting from their present values; returns the module."""
        self.follow()
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

    def decisive(self, name: str) -> Any:
        """A field's value for decisions: as it is now; the config's where a device would have to be waited for."""
        value = getattr(self, name)
        return value if value is None or value.is_cpu else getattr(self.config, name)

    def present(self, name: str) -> bool:
        """Whether a number takes part, being other than 0; another device is asked only where the config has 0."""
        return plain(self.decisive(name)) != 0 or plain(getattr(self, name)) != 0

    @property
    def fields(self) -> list[Tensor]:
        """Every field that has a value, as it is kept."""
        self.follow()
        return [field for field in (*self._parameters.values(), *self._buffers.values()) if field is not None]

    @property
    def facts(self) -> tuple[object, ...]:
        """What besides the fields a scene is made of."""
        return self.frame, self.quirks

    @property
    def device(self) -> torch.device:
        """Where the fields are."""
        kept = (*self._parameters.values(), *self._buffers.values())
        return next((field.device for field in kept if field is not None), self._device)
