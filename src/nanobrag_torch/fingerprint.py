"""What a scene is made of, so that an image after the next need not make it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .models import Beam, Crystal, Detector
from .recompute import differentiated

SHORT_LIST, LONG_LIST = 32, 4096
"""Numbers of a field up to which they are looked at one by one, and at all; a longer list counts as changed when it is
written to."""


class Fingerprint(NamedTuple):
    """Every number of some models: those in the host's memory among the facts; of other devices one list (n,), which is
    compared where it is."""

    facts: list[object]
    elsewhere: Tensor | None

    @classmethod
    def of(cls, models: Sequence[Crystal | Detector | Beam]) -> Fingerprint | None:
        """That of the models as they are now; None where derivatives are taken by any field."""
        fields = [field for model in models for field in model.fields]
        if differentiated(*fields):
            return None
        facts = [*(model.quirks for model in models), *map(_fact, fields)]
        with torch.no_grad():
            apart = [field.ravel() for field in fields if not field.is_cpu and field.numel() <= LONG_LIST]
            return cls(facts, torch.cat(apart) if apart else None)

    def same(self, other: Fingerprint) -> bool:
        """Whether nothing differs."""
        if self.facts != other.facts:
            return False
        return self.elsewhere is None or torch.equal(self.elsewhere, other.elsewhere)


def _fact(field: Tensor) -> tuple[object, ...]:
    """A field's numbers, in the form that is made soonest, or what stands for them."""
    if field.numel() > LONG_LIST:
        return id(field), field._version
    if not field.is_cpu:
        return field.dtype, field.device, field.shape
    numbers = field.tolist() if field.numel() <= SHORT_LIST else field.numpy(force=True).tobytes()
    return field.dtype, field.shape, numbers
