"""A fingerprint tells whether any number of the models has changed, however it was changed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nanobrag_torch.config import BeamConfig, CrystalConfig, DetectorConfig
from nanobrag_torch.fingerprint import LONG_LIST, SHORT_LIST, Fingerprint
from nanobrag_torch.models import Beam, Crystal, Detector


def models(reach: int = 4) -> tuple[Crystal, Detector, Beam]:
    """Models of a crystal with a table of (2·reach + 1)³ structure factors."""
    values = np.random.default_rng(1).uniform(10.0, 500.0, (2 * reach + 1,) * 3)
    table = SimpleNamespace(values=values, h_min=-reach, k_min=-reach, l_min=-reach)
    return Crystal(CrystalConfig(), structure_factors=table), Detector(DetectorConfig()), Beam(BeamConfig())


def field_of(chosen, numbers: range) -> torch.Tensor:
    return next(field for model in chosen for field in model.fields if field.numel() in numbers)


def test_nothing_changed():
    chosen = models()
    assert Fingerprint.of(chosen).same(Fingerprint.of(chosen))
    assert Fingerprint.of(chosen).same(Fingerprint.of(models()))


@pytest.mark.parametrize("numbers", [range(1, 2), range(2, SHORT_LIST), range(SHORT_LIST + 1, LONG_LIST + 1)])
@pytest.mark.parametrize("write", [lambda field: field.data.fill_(7.25), lambda field: field.numpy().fill(7.25)],
                         ids=["torch", "numpy"])
def test_a_number_changed(numbers, write):
    chosen = models()
    before, field = Fingerprint.of(chosen), field_of(chosen, numbers)
    write(field)
    assert not Fingerprint.of(chosen).same(before)


def test_a_long_list_was_written_to():
    chosen = models(reach=9)
    before = Fingerprint.of(chosen)
    assert Fingerprint.of(chosen).same(before)
    field_of(chosen, range(LONG_LIST + 1, 10**6)).add_(0.0)
    assert not Fingerprint.of(chosen).same(before)


@pytest.mark.parametrize("write", [
    lambda field: field.data.view(-1)[-1:].mul_(1.0 + 1e-15), lambda field: field.data.copy_(field.data.flip(0)),
    lambda field: field.data[:2].neg_(), lambda field: field.numpy().fill(7.25)],
    ids=["one digit", "another order", "signs", "numpy"])
def test_a_long_list_was_changed_unnoticed_by_torch(write):
    chosen = models(reach=9)
    before = Fingerprint.of(chosen).kept()
    assert Fingerprint.of(chosen).same(before)
    write(field_of(chosen, range(LONG_LIST + 1, 10**6)))
    assert not Fingerprint.of(chosen).same(before)


def test_the_same_box_elsewhere():
    chosen = models()
    before, crystal = Fingerprint.of(chosen), chosen[0]
    crystal.set_structure_factors(SimpleNamespace(values=crystal.factors, h_min=-3, k_min=-4, l_min=-4))
    assert not Fingerprint.of(chosen).same(before)


def test_fields_became_another_dtype():
    chosen = models()
    before = Fingerprint.of(chosen)
    chosen[0].to(torch.float32)
    assert not Fingerprint.of(chosen).same(before)


def test_none_where_derivatives_are_taken():
    chosen = models()
    chosen[0].refine("cell_a")
    assert Fingerprint.of(chosen) is None
    with torch.no_grad():
        assert Fingerprint.of(chosen) is not None


def test_numbers_elsewhere_are_not_fetched():
    chosen = models()
    for model in chosen:
        model.to("meta")
    found = Fingerprint.of(chosen)
    assert found.elsewhere.device.type == "meta"


def test_numbers_elsewhere_are_compared():
    found = [Fingerprint([], torch.tensor([1.0, number])) for number in (2.0, 2.0, 3.0)]
    assert found[0].same(found[1])
    assert not found[0].same(found[2])
