"""Rotations, and where the detector stands, against 17-digit numbers of the canonical program."""

# ruff: noqa: C408 (keywords read like the calls they become)
from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from nanobrag_torch.config import DetectorConfig
from nanobrag_torch.constants import DEGREES_PER_RADIAN
from nanobrag_torch.deviates import umat_to_misset
from nanobrag_torch.geometry import cross, dot, norm, radians, rotate_about, rotate_xyz, unit
from nanobrag_torch.models import Detector
from nanobrag_torch.quirks import Quirks

SETUPS = json.loads((Path(__file__).parent / "data" / "setups.json").read_text())["detectors"]


def real(values: object) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=float))


@pytest.fixture
def vectors() -> Tensor:
    return torch.randn(7, 3, generator=torch.manual_seed(5), dtype=torch.float64)


class TestRotations:
    def test_about_an_axis_is_rodrigues_and_right_handed(self, vectors: Tensor) -> None:
        axis, angle = unit(real([0.3, -0.5, 0.8])), real(0.7)
        expected = Rotation.from_rotvec((axis * angle).numpy()).apply(vectors.numpy())
        np.testing.assert_allclose(rotate_about(vectors, axis, angle), expected, rtol=0, atol=1e-15)
        quarter = rotate_about(real([1.0, 0.0, 0.0]), real([0.0, 0.0, 1.0]), real(math.pi / 2))
        np.testing.assert_allclose(quarter, [0.0, 1.0, 0.0], atol=1e-16)

    def test_about_many_axes_at_once(self, vectors: Tensor) -> None:
        axes, angles = unit(vectors.flip(0)), torch.linspace(-4, 4, 7, dtype=torch.float64)
        rows = torch.stack([rotate_about(v, n, a) for v, n, a in zip(vectors, axes, angles, strict=True)])
        assert torch.equal(rotate_about(vectors, axes, angles), rows)

    def test_an_axis_that_is_not_a_unit_vector_is_applied_literally(self) -> None:
        v, n, angle = real([1.0, 2.0, 3.0]), real([0.0, 0.0, 2.0]), real(0.4)
        expected = v * math.cos(0.4) + cross(n, v) * math.sin(0.4) + n * dot(n, v) * (1 - math.cos(0.4))
        np.testing.assert_allclose(rotate_about(v, n, angle), expected, rtol=1e-15)

    def test_about_x_then_y_then_z_of_the_laboratory(self, vectors: Tensor) -> None:
        angles = real([0.2, -1.1, 2.5])
        expected = Rotation.from_euler("xyz", angles.numpy()).apply(vectors.numpy())
        np.testing.assert_allclose(rotate_xyz(vectors, angles), expected, rtol=0, atol=1e-15)

    def test_no_rotation_changes_no_bit(self, vectors: Tensor) -> None:
        assert torch.equal(rotate_xyz(vectors, torch.zeros(3, dtype=torch.float64)), vectors)
        assert torch.equal(rotate_about(vectors, unit(vectors), torch.zeros(7, dtype=torch.float64)), vectors)

    @pytest.mark.parametrize("angles", [(0.2, -1.1, 2.5), (-3.0, 1.5, 0.0), (0.0, 0.0, 0.0), (1.0, -1.5707, -2.0)])
    def test_misset_angles_of_a_matrix_give_the_matrix_back(self, angles: tuple[float, float, float]) -> None:
        matrix = rotate_xyz(torch.eye(3, dtype=torch.float64), real(angles)).T
        found = umat_to_misset(matrix.numpy())
        np.testing.assert_allclose(rotate_xyz(torch.eye(3, dtype=torch.float64), real(found)).T, matrix, atol=1e-12)
        np.testing.assert_allclose(found, angles, atol=1e-11)

    def test_degrees(self) -> None:
        assert radians(real(180.0)).item() == 180.0 / DEGREES_PER_RADIAN == pytest.approx(math.pi, rel=1e-15)


class TestVectors:
    def test_products_and_lengths(self, vectors: Tensor) -> None:
        others = vectors.roll(1, 0)
        np.testing.assert_allclose(dot(vectors, others), (vectors * others).sum(-1), rtol=1e-14)
        np.testing.assert_allclose(cross(vectors, others), np.cross(vectors, others), rtol=0, atol=1e-15)
        np.testing.assert_allclose(norm(vectors), np.linalg.norm(vectors, axis=-1), rtol=1e-15)
        np.testing.assert_allclose(norm(unit(vectors)), 1.0, rtol=4e-16)

    def test_cross_broadcasts(self, vectors: Tensor) -> None:
        one = real([0.0, 0.0, 1.0])
        assert torch.equal(cross(one, vectors), cross(one.expand(7, 3), vectors))

    def test_the_zero_vector_has_no_direction_and_no_nan(self) -> None:
        assert unit(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0] and norm(torch.zeros(2, 3)).tolist() == [0.0, 0.0]


ROTATED = dict(detector_rotx_deg=5.0, detector_roty_deg=3.0, detector_rotz_deg=2.0, detector_twotheta_deg=12.0)
CUSTOM = dict(ROTATED, detector_convention="custom", twotheta_axis=(0, 0, -1), beam_x_mm=15.0, beam_y_mm=17.0)
DETECTORS = {
    "T01": dict(),
    "T03": dict(detector_convention="adxv"),
    "T04": dict(detector_convention="xds", orgx_px=30.0, orgy_px=36.0),
    "T05": dict(detector_convention="dials"),
    "T06": dict(detector_convention="denzo"),
    "T07": ROTATED,
    "T08": dict(ROTATED, detector_convention="xds"),
    "T09": dict(CUSTOM, detector_pivot="beam"),
    "T10": dict(CUSTOM, detector_pivot="sample"),
    "T14": dict(detector_abs_um=500.0, detector_thick_um=450.0, detector_thicksteps=4, detector_twotheta_deg=20.0),
    "T22": dict(curved=True, beam_x_mm=14.0, beam_y_mm=19.0),
}


def detector(name: str = "T01", quirks: Quirks | None = None, **changes: object) -> Detector:
    config = dict(distance_mm=100.0, spixels=64, fpixels=64, pixel_size_mm=0.5) | DETECTORS[name] | changes
    return Detector(DetectorConfig(**config), quirks=quirks)


class TestDetectorSetup:
    @pytest.mark.parametrize("name", DETECTORS)
    def test_of_every_convention_and_pivot(self, name: str) -> None:
        model, expected = detector(name, Quirks.upstream()), SETUPS[name]
        geometry = model.geometry()._asdict()
        assert model.pivot == expected["pivot"]
        for quantity in expected.keys() - {"arguments", "pivot"}:
            np.testing.assert_allclose(geometry[quantity], expected[quantity], rtol=1e-14, atol=1e-17,
                                       err_msg=quantity)

    @pytest.mark.parametrize("name", DETECTORS)
    def test_axes_stay_orthonormal(self, name: str) -> None:
        axes = torch.stack((detector(name).fdet_vec, detector(name).sdet_vec, detector(name).odet_vec))
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-15)

    @pytest.mark.parametrize("name", DETECTORS)
    def test_beam_centre_is_where_the_beam_hits(self, name: str) -> None:
        """In clean physics the recomputed distance and centre describe the point on the beam and on the plane."""
        geometry = detector(name).geometry()
        spot = geometry.pix0 + geometry.beam_f * geometry.fdet + geometry.beam_s * geometry.sdet
        np.testing.assert_allclose(spot, geometry.distance * geometry.beam, rtol=0, atol=1e-16)
        foot = geometry.pix0 + geometry.close_f * geometry.fdet + geometry.close_s * geometry.sdet
        np.testing.assert_allclose(foot, geometry.close_distance * geometry.odet, rtol=0, atol=1e-16)

    def test_beam_pivot_holds_the_spot_and_sample_pivot_the_near_point(self) -> None:
        centre = dict(beam_center_f=14.0, beam_center_s=18.0, distance_mm=100.0)
        held = detector("T07", detector_pivot="beam", **centre).geometry()
        assert [held.beam_f.item(), held.beam_s.item()] == pytest.approx([0.014, 0.018], rel=1e-12)
        assert held.distance.item() == pytest.approx(0.1, rel=1e-12)
        turned = detector("T07", detector_pivot="sample", **centre).geometry()
        assert [turned.close_f.item(), turned.close_s.item()] == pytest.approx([0.014, 0.018], rel=1e-12)

    def test_pixel_centres(self) -> None:
        model = detector("T07")
        coordinates, geometry = model.get_pixel_coords(), model.geometry()
        assert coordinates.shape == (64, 64, 3)
        expected = geometry.pix0 + 5.5 * 0.0005 * geometry.fdet + 9.5 * 0.0005 * geometry.sdet
        np.testing.assert_allclose(coordinates[9, 5], expected, rtol=1e-15)

    def test_curved_detector_has_every_pixel_at_the_same_distance(self) -> None:
        for quirks in (Quirks.clean(), Quirks.upstream()):
            lengths = norm(detector("T22", quirks).get_pixel_coords())
            np.testing.assert_allclose(lengths, 0.1, rtol=1e-14)

    def test_solid_angles_add_up_to_that_of_the_square(self) -> None:
        """4·asin(sin²) formula of a square seen from its axis: Ω = 4·atan(a²/(d·√(d² + 2a²))), half edge a."""
        model = detector(beam_center_f=16.0, beam_center_s=16.0, spixels=640, fpixels=640, pixel_size_mm=0.05)
        a, d = 0.016, 0.1
        expected = 4 * math.atan(a * a / (d * math.sqrt(d * d + 2 * a * a)))
        assert model.get_solid_angle().sum().item() == pytest.approx(expected, rel=1e-7)

    def test_point_pixels_count_distance_alone(self) -> None:
        model = detector("T07", point_pixel=True)
        np.testing.assert_allclose(model.get_solid_angle(), norm(model.get_pixel_coords()) ** -2, rtol=1e-14)
