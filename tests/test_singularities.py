"""Removable singularities: exact in value and derivative at, left and right of the point, in every mode."""

from __future__ import annotations

import math
import weakref

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck

from nanobrag_torch.geometry import norm, unit
from nanobrag_torch.physics.lattice_factor import few
from nanobrag_torch.physics.polarization import polarization, polarization_forms
from nanobrag_torch.physics.singularities import sinc3, sincg, sincg_product_squared

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch's own forward mode

AROUND = (0.0, 1e-300, -1e-300, 1e-12, -1e-12, 1e-6, -1e-6, 1e-4, -1e-4, 3e-3, -3e-3, 0.04, -0.04)


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def assert_all_modes_agree(function, *inputs: Tensor, eps: float = 1e-6) -> None:
    """Backward and forward mode, single and batched, equal central differences."""
    assert gradcheck(function, inputs, eps=eps, atol=1e-6, rtol=1e-6, check_forward_ad=True, check_batched_grad=True,
                     check_batched_forward_grad=True)


def slope(function, at: Tensor) -> Tensor:
    """Elementwise derivative by backward, after a check that both forward modes give the same."""
    at = at.detach()
    one = torch.ones_like(at)
    backward = torch.func.grad(lambda x: function(x).sum())(at)
    torch.testing.assert_close(torch.func.jvp(function, (at,), (one,))[1], backward, rtol=1e-12, atol=1e-300)
    with forward_ad.dual_level():
        dual = forward_ad.unpack_dual(function(forward_ad.make_dual(at, one))).tangent
    torch.testing.assert_close(dual, backward, rtol=1e-12, atol=1e-300)
    return backward


class TestSincg:
    """sin(πNf)/sin(πf)."""

    @pytest.mark.parametrize("cells", [1.0, 2.0, 5.0, 5.5, 37.0])
    def test_derivatives_by_offset_and_cells(self, cells: float) -> None:
        f = real(*AROUND, 0.3, -0.5, 0.5, 1.01e-2 / (math.pi * cells), 0.99e-2 / (math.pi * cells))
        assert_all_modes_agree(sincg, f, torch.tensor(cells, dtype=torch.float64, requires_grad=True))

    @pytest.mark.parametrize("cells", [1.0, 2.0, 5.0, 5.5, 37.0, 2000.0])
    def test_limits_at_an_exact_bragg_hit(self, cells: float) -> None:
        N = torch.tensor(cells, dtype=torch.float64)
        zero = real(0.0, -0.0)
        assert sincg(zero, N).tolist() == [cells, cells]
        assert slope(lambda f: sincg(f, N), zero).abs().tolist() == [0.0, 0.0]
        assert torch.func.grad(lambda N: sincg(zero.detach(), N).sum())(N) == 2.0
        second = torch.func.grad(torch.func.grad(lambda f: sincg(f, N)))(torch.tensor(0.0, dtype=torch.float64))
        torch.testing.assert_close(second, -(math.pi**2) * N * (N**2 - 1) / 3, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("cells", [2.0, 7.0, 37.0])
    def test_slope_is_accurate_on_both_sides_of_the_series(self, cells: float) -> None:
        """Against the derivative of 1 + 2·Σ cos(2πmf) (or its even-N form), which has no quotient."""
        offsets = torch.logspace(-9, math.log10(0.5), 60, dtype=torch.float64)
        orders = torch.arange(cells, dtype=torch.float64) - (cells - 1) / 2
        frequency = 2 * math.pi * orders
        expected = -(frequency * torch.sin(offsets[:, None] * frequency)).sum(-1)
        found = slope(lambda f: sincg(f, torch.tensor(cells, dtype=torch.float64)), offsets)
        torch.testing.assert_close(found, expected, rtol=2e-9, atol=1e-10 * cells**2)

    def test_without_gradient_gives_the_same_numbers(self) -> None:
        f, N = real(*AROUND, 0.37), torch.tensor(9.0, dtype=torch.float64)
        with torch.no_grad():
            plain = sincg(f, N)
        assert torch.equal(plain, sincg(f, N))

    def test_batched_by_vmap(self) -> None:
        f, N = torch.rand(3, 4, dtype=torch.float64) - 0.5, torch.tensor([2.0, 3.0, 11.0], dtype=torch.float64)
        f[:, 0] = 0.0
        rows = torch.stack([sincg(row, cells) for row, cells in zip(f, N, strict=True)])
        torch.testing.assert_close(torch.func.vmap(sincg)(f, N), rows, rtol=1e-15, atol=0)
        jacobian = torch.func.vmap(torch.func.grad(lambda f, N: sincg(f, N).sum()))(f, N)
        assert jacobian[:, 0].abs().max() == 0 and torch.isfinite(jacobian).all()

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_value_and_slope_are_finite_at_every_scale(self, dtype: torch.dtype) -> None:
        f = torch.cat([torch.zeros(1), torch.logspace(-25, math.log10(0.5), 400)]).to(dtype)
        f = torch.cat((f, -f)).requires_grad_()
        value = sincg(f, torch.tensor(20.0, dtype=dtype))
        value.sum().backward()
        assert torch.isfinite(value).all() and torch.isfinite(f.grad).all()
        assert value.abs().max() <= 20.0 * (1 + 4 * torch.finfo(dtype).eps)


class TestSincgProductSquared:
    """The square of their product by zeros, for whole N."""

    @pytest.mark.parametrize("counts", [(1, 2, 3), (4, 5, 6), (7, 10, 13), (20, 23, 1), (24, 16, 12)])
    @pytest.mark.parametrize("node", [0, 1, -6])
    def test_is_that_of_the_quotients(self, counts: tuple[int, ...], node: int) -> None:
        rows = torch.arange(-500, 501, dtype=torch.float64) / 1000
        f = torch.stack((rows, rows.roll(137), rows.roll(-301)))
        quotients = math.prod(sincg(along, torch.tensor(float(count), dtype=torch.float64))
                              for along, count in zip(f, counts, strict=True))
        greatest = math.prod(counts)**2
        torch.testing.assert_close(sincg_product_squared(math.pi * (f + node), counts), torch.square(quotients),
                                   rtol=3e-13, atol=1e-14 * greatest)

    @pytest.mark.parametrize("count", [2, 3, 6, 9, 20])
    def test_is_n_squared_at_a_node_and_nothing_at_the_zeros(self, count: int) -> None:
        f = torch.arange(count // 2 + 1, dtype=torch.float64)[None] / count
        value = sincg_product_squared(math.pi * f, (count,))
        assert value[0] == count**2 and value[1:].max() <= 1e-25

    def test_one_cell_has_no_structure(self) -> None:
        assert torch.equal(sincg_product_squared(torch.rand(3, 2, 4, dtype=torch.float64), (1, 1, 1)),
                           torch.ones(2, 4, dtype=torch.float64))

    def test_asks_for_one_phase_after_the_other(self) -> None:
        alive = []

        def phases():
            for _ in range(3):
                assert sum(phase() is not None for phase in alive) <= 1
                phase = torch.rand(5, dtype=torch.float64)
                alive.append(weakref.ref(phase))
                yield phase

        sincg_product_squared(phases(), (5, 5, 5))


class TestFew:
    """Which crystals are summed by zeros."""

    def test_small_whole_numbers_of_cells(self) -> None:
        assert few(real(1, 5, 12).detach()) == (1, 5, 12)

    @pytest.mark.parametrize("cells", [(5, 5, 25), (5, 5.5, 5)])
    def test_no_others(self, cells: tuple[float, ...]) -> None:
        assert few(real(*cells).detach()) is None

    def test_none_whose_number_is_differentiated(self) -> None:
        assert few(real(5, 5, 5)) is None


class TestSinc3:
    """3(sin x/x - cos x)/x² of x²."""

    def test_derivative(self) -> None:
        assert_all_modes_agree(sinc3, real(1e-3, 0.0625, 0.249999, 0.250001, 1.0, 9.8696, 60.0), eps=1e-7)

    def test_limits_at_an_exact_bragg_hit(self) -> None:
        zero = real(0.0)
        assert sinc3(zero).item() == 1.0
        assert slope(sinc3, zero).item() == pytest.approx(-0.1, rel=1e-15)
        second = torch.func.grad(torch.func.grad(sinc3))(torch.tensor(0.0, dtype=torch.float64))
        assert second.item() == pytest.approx(1 / 140, rel=1e-14)

    def test_is_smooth_through_zero_in_the_offset(self) -> None:
        assert_all_modes_agree(lambda x: sinc3(x * x), real(*AROUND))

    def test_value_and_slope_against_the_power_series(self) -> None:
        """Σ (-s)ⁿ·3·2(n+1)/(2n+3)!, summed to exhaustion."""
        squared = torch.logspace(-12, 0.5, 50, dtype=torch.float64)
        terms = [3.0 * 2 * (n + 1) / math.factorial(2 * n + 3) for n in range(20)]
        expected = sum(c * (-squared) ** n for n, c in enumerate(terms))
        expected_slope = sum(-n * c * (-squared) ** (n - 1) for n, c in enumerate(terms) if n)
        torch.testing.assert_close(sinc3(squared), expected, rtol=3e-14, atol=0)
        torch.testing.assert_close(slope(sinc3, squared), expected_slope, rtol=1e-12, atol=0)

    def test_literal_form_loses_digits_as_the_program_does(self) -> None:
        x = torch.tensor([1e-4, 1e-6, 1e-8], dtype=torch.float64)
        assert sinc3(x * x, literal=True).tolist() == pytest.approx([1.0000000161, 1.00019992, 0.0], rel=1e-8)
        assert sinc3(x * x).tolist() == pytest.approx([1.0, 1.0, 1.0], rel=1e-8)


class TestVectors:
    @pytest.mark.parametrize("length", [1e-150, 1e-9, 1.0, 1e9])
    def test_norm_and_unit_have_derivatives(self, length: float) -> None:
        v = real(0.3 * length, -0.5 * length, 0.9 * length).reshape(1, 3)
        assert norm(v).item() == pytest.approx(length * math.sqrt(1.15), rel=1e-14)
        if length > 1e-100:
            assert_all_modes_agree(norm, v, eps=1e-6 * length)
        assert_all_modes_agree(lambda v: unit(v * length), (v / length).detach().requires_grad_())

    def test_zero_vector_has_finite_derivatives(self) -> None:
        v = torch.zeros(2, 3, dtype=torch.float64)
        for function in (norm, unit):
            assert function(v).abs().max() == 0
            assert torch.isfinite(torch.func.jacrev(function)(v)).all()
            assert torch.isfinite(torch.func.jacfwd(function)(v)).all()
        assert torch.func.grad(lambda v: norm(v).sum())(v).abs().max() == 0

    def test_a_zero_vector_beside_others_spoils_none(self) -> None:
        v = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]], dtype=torch.float64)
        gradient = torch.func.grad(lambda v: norm(v).sum())(v)
        assert gradient[1].tolist() == pytest.approx([0.6, 0.0, 0.8], rel=1e-15)


class TestPolarization:
    """Kahn's angle ψ has no value at 2θ = 0; the factor has."""

    def factor(self, d: Tensor, incident: Tensor, axis: Tensor, kahn: Tensor) -> Tensor:
        return polarization(unit(d), polarization_forms(unit(incident), unit(axis), kahn))

    @pytest.mark.parametrize("tilt", [0.0, 1e-9, -1e-9, 1e-4, -1e-4, 0.3])
    def test_derivatives_about_the_direct_beam(self, tilt: float) -> None:
        d = torch.tensor([[1.0, tilt, 0.5 * tilt]], dtype=torch.float64, requires_grad=True)
        incident = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
        assert_all_modes_agree(self.factor, d, incident, real(0.1, 0.2, 0.9), torch.tensor(
            0.7, dtype=torch.float64, requires_grad=True))

    def test_limits_at_zero_scattering_angle(self) -> None:
        forward = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
        axis, kahn = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
        assert self.factor(forward, forward, axis, kahn).item() == 1.0
        assert torch.func.grad(lambda d: self.factor(d, forward, axis, kahn).sum())(forward).abs().max() <= 1e-16
        curvature = torch.func.hessian(lambda yz: self.factor(
            torch.cat((torch.ones_like(yz[:1]), yz))[None], forward, axis, kahn).sum())(torch.zeros(2).double())
        torch.testing.assert_close(curvature, torch.diag(torch.tensor([-1 + 0.7, -1 - 0.7], dtype=torch.float64)))

    @pytest.mark.parametrize("kahn", [0.0, 0.7, -0.95])
    def test_equals_the_textbook_form_away_from_it(self, kahn: float) -> None:
        generator = torch.manual_seed(3)
        d = unit(torch.randn(20, 3, generator=generator, dtype=torch.float64))
        i = unit(torch.tensor([[1.0, 0.1, -0.2]], dtype=torch.float64))
        axis = unit(torch.tensor([0.1, 0.0, 1.0], dtype=torch.float64))
        B = unit(torch.linalg.cross(axis, i[0]))
        E = unit(torch.linalg.cross(i[0], B))
        psi = -torch.atan2(d @ B, d @ E)
        squared = torch.square(d @ i[0])
        expected = 0.5 * (1.0 + squared - kahn * torch.cos(2 * psi) * (1.0 - squared))
        found = polarization(d, polarization_forms(i, axis, torch.tensor(kahn, dtype=torch.float64)))[:, 0]
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-14)
