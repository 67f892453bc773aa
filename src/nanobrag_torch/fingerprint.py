"""What a scene is made of, so that an image after the next need not make it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .models import Beam, Crystal, Detector
from .recompute import differentiated

SHORT_LIST, LONG_LIST = 32, 4096
"""Numbers of a field up to which they are listed as Python's, and listed at all; longer ones are compared where they
are, and count as changed when they are written to."""


class Fingerprint(NamedTuple):
    """Every number of some models: those in the host's memory among the facts; of other devices one list (n,), which is
    compared where it is, as are long fields."""

    facts: list[object]
    elsewhere: Tensor | None
    long: Sequence[Tensor] = ()

    @classmethod
    def of(cls, models: Sequence[Crystal | Detector | Beam]) -> Fingerprint | None:
        """That of the models as they are now; None where derivatives are taken by any field."""
        fields = [field for model in models for field in model.fields]
        if differentiated(*fields):
            return None
        facts = [*(fact for model in models for fact in model.facts), *map(_fact, fields)]
        with torch.no_grad():
            apart = [field.ravel() for field in fields if not field.is_cpu and field.numel() <= LONG_LIST]
            long = [field for field in fields if field.numel() > LONG_LIST]
            return cls(facts, torch.cat(apart) if apart else None, long)

    def kept(self) -> Fingerprint:
        """The same for later: long fields, which may be written to, as copies."""
        return self._replace(long=[field.detach().clone() for field in self.long])

    def same(self, other: Fingerprint) -> bool:
        """Whether nothing differs."""
        if self.facts != other.facts:
            return False
        if self.elsewhere is not None and not torch.equal(self.elsewhere, other.elsewhere):
            return False
        return all(map(_equal, self.long, other.long))


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether long fields agree; torch would wake its threads for them, which costs more than the comparison."""
    if not one.is_cpu:
        return torch.equal(one, other)
    return np.array_equal(one.numpy(force=True), other.numpy(force=True))


def _fact(field: Tensor) -> tuple[object, ...]:
    """A field's numbers, in the form that is made soonest, or what stands for them."""
    if field.numel() > LONG_LIST:
        written = None if field.is_inference() else field._version
        return field.dtype, field.device, field.shape, written
    if not field.is_cpu:
        return field.dtype, field.device, field.shape
    numbers = field.tolist() if field.numel() <= SHORT_LIST else field.numpy(force=True).tobytes()
    return field.dtype, field.shape, numbers
