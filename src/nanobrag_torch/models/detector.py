"""From detector options to the lab frame: basis, pivots, pixel positions, solid angle, sensor layers (part B §3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import DetectorConfig, DetectorConvention, DetectorPivot, plain, plain3
from ..constants import SMALLEST_NORMAL
from ..conventions import FRAMES
from ..geometry import cross, dot, norm, radians, rotate_about, rotate_xyz, unit
from ..quirks import Quirks
from .parameters import ContinuousFields

_FIELDS = (
    "distance_mm", "close_distance_mm", "pixel_size_mm", "size_s_mm", "size_f_mm", "beam_x_mm", "beam_y_mm",
    "close_x_mm", "close_y_mm", "orgx_px", "orgy_px", "beam_center_f", "beam_center_s", "detector_rotx_deg",
    "detector_roty_deg", "detector_rotz_deg", "detector_twotheta_deg", "twotheta_axis", "fdet_vector",
    "sdet_vector", "odet_vector", "beam_vector", "pix0_vector_m", "detector_thick_um", "detector_abs_um",
)


class BeamCentre(NamedTuple):
    """Points of the detector plane, metres from the outer corner of the first pixel (part B §2.4)."""

    x: Tensor
    y: Tensor
    close_x: Tensor
    close_y: Tensor
    beam_f: Tensor
    beam_s: Tensor
    close_f: Tensor
    close_s: Tensor


class DetectorGeometry(NamedTuple):
    """The placed detector; vectors (3,) in the lab, lengths in metres, mu in 1/m (part B §3.3).

    corner: the outer corner of the first pixel as seen from the point at |distance| along the beam.
    """

    fdet: Tensor
    sdet: Tensor
    odet: Tensor
    pix0: Tensor
    beam: Tensor
    ratio: Tensor
    distance: Tensor
    close_distance: Tensor
    beam_f: Tensor
    beam_s: Tensor
    close_f: Tensor
    close_s: Tensor
    pixel_size: Tensor
    layer_depth: Tensor
    attenuation: Tensor
    corner: Tensor

    @property
    def dials_origin_m(self) -> Tensor:
        """pix0 along z, y and -x as inner products, whose zeros have no sign (part B §3.3), (3,) metres."""
        axes = self.pix0.new_tensor(((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)))
        return dot(self.pix0, axes)


class Detector(ContinuousFields):
    """Tensors of a `DetectorConfig`; every continuous field of it is an attribute of the same name."""

    def __init__(self, config: DetectorConfig | None = None, *, device: torch.device | str = "cpu",
                 dtype: torch.dtype = torch.float64, quirks: Quirks | None = None) -> None:
        super().__init__(config or DetectorConfig(), _FIELDS, dtype=dtype, device=torch.device(device))
        self.quirks = quirks or Quirks.clean()
        self.frame = FRAMES[self.config.detector_convention]

    @property
    def pivot(self) -> DetectorPivot:
        """The pivot in force: the convention's, unless it leaves the choice or clean physics honours the option."""
        chosen = self.config.detector_pivot
        if self.frame.pivot is not None and (self.quirks.forced_pivot or chosen is None):
            return self.frame.pivot
        return chosen or DetectorPivot.BEAM

    @property
    def pixel_size_m(self) -> Tensor:
        return self.pixel_size_mm / 1000.0

    @property
    def size_f_m(self) -> Tensor:
        """Extent along fast, metres."""
        return self.pixel_size_m * self.config.fpixels if self.size_f_mm is None else self.size_f_mm / 1000.0

    @property
    def size_s_m(self) -> Tensor:
        """Extent along slow, metres."""
        return self.pixel_size_m * self.config.spixels if self.size_s_mm is None else self.size_s_mm / 1000.0

    @property
    def layers(self) -> int:
        """Number of sensor layers (part B §3.7)."""
        count = self.config.detector_thicksteps
        if not self.present("detector_thick_um"):
            return 1
        if count is None:
            return 2
        return max(count, 2) if self.quirks.sensor_layer_step else count

    def beam_direction(self) -> Tensor:
        """Unit direction of photon travel, (3,)."""
        return self._axis(self.beam_vector, self.frame.beam)

    @property
    def plain_beam_vector(self) -> tuple[float, float, float]:
        """The direction of photon travel as plain numbers, for decisions, of any length."""
        given = self.decisive("beam_vector")
        return self.frame.beam if given is None else plain3(given)

    def rotation_angles(self) -> Tensor:
        """Rotations about lab x, y, z, (3,) radians."""
        return radians(torch.stack((self.detector_rotx_deg, self.detector_roty_deg, self.detector_rotz_deg)))

    def beam_centre(self) -> BeamCentre:
        """Beam spot and near point before any rotation, in the sense of the convention (part B §2.4)."""
        pixel, size_f, size_s = self.pixel_size_m, self.size_f_m, self.size_s_m
        close_f = size_f / 2.0 if self.orgx_px is None else (self.orgx_px - 0.5) * pixel
        close_s = size_s / 2.0 if self.orgy_px is None else (self.orgy_px - 0.5) * pixel
        close_x = close_f if self.close_x_mm is None else self.close_x_mm / 1000.0
        close_y = close_s if self.close_y_mm is None else self.close_y_mm / 1000.0
        default_x, default_y = self._default_centre(pixel, size_f, size_s, close_x, close_y)
        x = default_x if self.beam_x_mm is None else self.beam_x_mm / 1000.0
        y = default_y if self.beam_y_mm is None else self.beam_y_mm / 1000.0
        beam_f, beam_s = self._to_fast_slow(x, y, pixel, size_s)
        if self.beam_center_f is not None:
            beam_f = close_f = self.beam_center_f / 1000.0
        if self.beam_center_s is not None:
            beam_s = close_s = self.beam_center_s / 1000.0
        if self.beam_center_f is not None or self.beam_center_s is not None:
            x, y = self._from_fast_slow(beam_f, beam_s, pixel, size_s)
        custom = self.config.detector_convention is DetectorConvention.CUSTOM
        if custom or (self._turned_about_sample() and self.orgx_px is None):
            close_f = beam_f
        if custom or (self._turned_about_sample() and self.orgy_px is None):
            close_s = beam_s
        return BeamCentre(x, y, close_x, close_y, beam_f, beam_s, close_f, close_s)

    def geometry(self) -> DetectorGeometry:
        """Placed detector after rotation about the pivot (part B §§3.1 to 3.3)."""
        beam, centre = self.beam_direction(), self.beam_centre()
        fdet = self._axis(self.fdet_vector, self.frame.fdet)
        sdet = self._axis(self.sdet_vector, self.frame.sdet)
        odet = self._normal(fdet, sdet, beam)
        angles = self.rotation_angles()
        ratio = _never_zero(dot(beam, rotate_xyz(odet, angles)))
        distance = self.distance_mm / 1000.0
        close = torch.abs(ratio * distance) if self.close_distance_mm is None else self.close_distance_mm / 1000.0
        distance = close / ratio
        near_corner = -centre.close_f * fdet - centre.close_s * sdet + close * odet
        axes = self._turn(torch.stack((near_corner, fdet, sdet, odet)), angles)
        pix0, fdet, sdet, odet = axes.unbind(0)
        if self.pivot is DetectorPivot.BEAM:
            pix0 = -centre.beam_f * fdet - centre.beam_s * sdet + distance * beam
        if self.pix0_vector_m is not None and not self.quirks.pix0_ignored:
            pix0 = self.pix0_vector_m
        if not self.quirks.twotheta_distance:
            ratio = _never_zero(dot(beam, odet))
        close = dot(pix0, odet)
        spot = close / ratio * beam - pix0
        return DetectorGeometry(
            fdet, sdet, odet, pix0, beam, ratio, close / ratio, close, dot(fdet, spot), dot(sdet, spot),
            -dot(pix0, fdet), -dot(pix0, sdet), self.pixel_size_m, self._layer_depth(), self._attenuation(),
            pix0 - torch.abs(close / ratio) * beam)

    def get_pixel_coords(self) -> Tensor:
        """Lab positions of all pixel centres on the front face, (slow, fast, 3) metres."""
        slow, fast = torch.meshgrid(self.constant(range(self.config.spixels)),
                                    self.constant(range(self.config.fpixels)), indexing="ij")
        geometry = self.geometry()
        half = geometry.pixel_size / 2.0
        return pixel_positions(geometry, geometry.pixel_size * fast + half, geometry.pixel_size * slow + half,
                               0, curved=self.config.curved, by_lab=self.quirks.curved_detector)

    def get_solid_angle(self) -> Tensor:
        """Solid angle of every pixel at its centre, (slow, fast) sr (1/m² for point pixels)."""
        return solid_angle(self.geometry(), norm(self.get_pixel_coords()), point_pixel=self.config.point_pixel,
                           facing=self.config.curved and not self.quirks.curved_detector)

    def header_values(self) -> dict[str, float | tuple[float, float, float]]:
        """What image headers say of the detector, in their units: mm, pixels, degrees (part A §4.4).

        With the fault `header_values` the beam centre is the one given, even where a rotation has moved it, and the
        DIALS origin is written as for a beam along x.
        """
        geometry, centre = self.geometry(), self.beam_centre()
        pixel, size_s = geometry.pixel_size, self.size_s_m
        x, y, origin = centre.x, centre.y, geometry.dials_origin_m
        if not self.quirks.header_values:
            x, y = self._from_fast_slow(geometry.beam_f, geometry.beam_s, pixel, size_s)
            fdet, sdet = (self._axis(given, default) for given, default in (
                (self.fdet_vector, self.frame.fdet), (self.sdet_vector, self.frame.sdet)))
            origin = torch.stack([dot(geometry.pix0, axis) for axis in (fdet, -sdet, -geometry.beam)])
        mm = {
            "pixel_size_mm": pixel, "distance_mm": geometry.distance, "beam_center_x_mm": x, "beam_center_y_mm": y,
            "adxv_center_x_mm": geometry.beam_f, "adxv_center_y_mm": size_s - geometry.beam_s,
            "mosflm_center_x_mm": geometry.beam_s - 0.5 * pixel, "mosflm_center_y_mm": geometry.beam_f - 0.5 * pixel,
            "denzo_x_beam_mm": geometry.beam_s, "denzo_y_beam_mm": geometry.beam_f,
            "close_distance_mm": geometry.close_distance,
        }
        return {name: plain(value) * 1000.0 for name, value in mm.items()} | {
            "dials_origin_mm": plain3(1000.0 * origin), "xds_orgx_px": plain(geometry.close_f / pixel + 0.5),
            "xds_orgy_px": plain(geometry.close_s / pixel + 0.5),
            "twotheta_deg": plain(self.detector_twotheta_deg)}

    fdet_vec = property(lambda self: self.geometry().fdet, doc="Placed fast axis, (3,) unit vector.")
    sdet_vec = property(lambda self: self.geometry().sdet, doc="Placed slow axis, (3,) unit vector.")
    odet_vec = property(lambda self: self.geometry().odet, doc="Placed normal, (3,) unit vector.")
    pix0_vector = property(lambda self: self.geometry().pix0, doc="Outer corner of the first pixel, (3,) metres.")

    def _axis(self, given: Tensor | None, default: tuple[float, float, float]) -> Tensor:
        return unit(self.constant(default) if given is None else given)

    def _normal(self, fdet: Tensor, sdet: Tensor, beam: Tensor) -> Tensor:
        """The detector normal before rotation (part B §2.3)."""
        if self.config.detector_convention is not DetectorConvention.CUSTOM:
            return self.constant(self.frame.odet)
        given = self.decisive("odet_vector")
        if self.quirks.custom_normal_kept:
            x, y, z = self.frame.odet if given is None else plain3(given)
            kept = (x * x + y * y + z * z) ** 0.5 == 1.0
            return self._axis(self.odet_vector, self.frame.odet) if kept else unit(cross(fdet, sdet))
        if given is not None and any(plain3(given)):
            return unit(self.odet_vector)
        normal = unit(cross(fdet, sdet))
        return normal * torch.where(dot(normal, beam) < 0, -1.0, 1.0).to(normal)

    def _turn(self, vectors: Tensor, angles: Tensor) -> Tensor:
        """All detector rotations: lab x, y, z, then two-theta about its axis."""
        axis = self.constant(self.frame.twotheta) if self.twotheta_axis is None else self.twotheta_axis
        if not self.quirks.twotheta_axis_unnormalised:
            axis = unit(axis)
        return rotate_about(rotate_xyz(vectors, angles), axis, radians(self.detector_twotheta_deg))

    def _default_centre(self, pixel: Tensor, size_f: Tensor, size_s: Tensor, close_x: Tensor,
                        close_y: Tensor) -> tuple[Tensor, Tensor]:
        match self.config.detector_convention:
            case DetectorConvention.ADXV:
                return (size_f + pixel) / 2.0, (size_s - pixel) / 2.0
            case DetectorConvention.MOSFLM | DetectorConvention.DENZO:
                return (size_s + pixel) / 2.0, (size_f + pixel) / 2.0
        return close_x, close_y

    def _to_fast_slow(self, x: Tensor, y: Tensor, pixel: Tensor, size_s: Tensor) -> tuple[Tensor, Tensor]:
        match self.config.detector_convention:
            case DetectorConvention.ADXV:
                return x, size_s - y
            case DetectorConvention.MOSFLM:
                return y + 0.5 * pixel, x + 0.5 * pixel
            case DetectorConvention.DENZO:
                return y, x
        return x, y

    def _from_fast_slow(self, fast: Tensor, slow: Tensor, pixel: Tensor, size_s: Tensor) -> tuple[Tensor, Tensor]:
        match self.config.detector_convention:
            case DetectorConvention.ADXV:
                return fast, size_s - slow
            case DetectorConvention.MOSFLM:
                return slow - 0.5 * pixel, fast - 0.5 * pixel
            case DetectorConvention.DENZO:
                return slow, fast
        return fast, slow

    def _turned_about_sample(self) -> bool:
        """Whether a convention that holds the beam spot is made to turn about the sample."""
        return self.frame.pivot is DetectorPivot.BEAM and self.pivot is DetectorPivot.SAMPLE

    def _layer_depth(self) -> Tensor:
        thickness = self.detector_thick_um * 1e-6
        if self.layers == 1:
            return thickness
        asked = self.config.detector_thicksteps
        if self.quirks.sensor_layer_step and asked is not None:
            return thickness / (self.layers - 1)
        return thickness / self.layers

    def _attenuation(self) -> Tensor:
        """Linear attenuation coefficient, 1/m; without a depth, that of the thickness itself."""
        if self.detector_abs_um is not None:
            return 1.0 / (self.detector_abs_um * 1e-6)
        bare = self.detector_thick_um == 0
        thickness = torch.where(bare, 1.0, self.detector_thick_um * 1e-6)
        return torch.where(bare, 0.0, 1.0 / thickness)


def pixel_positions(geometry: DetectorGeometry, fast_m: Tensor, slow_m: Tensor, layer: int, *, curved: bool,
                    by_lab: bool) -> Tensor:
    """Lab positions (..., 3) of points at detector coordinates (...) in metres, on a sensor layer (part B §3.4).

    `curved` bends the plane into a sphere about the sample: by the detector coordinates from the beam centre, deeper
    layers further out; or (`by_lab`, part B §3.5) by the lab y and z of the flat position, all layers on one sphere.
    """
    depth = layer * geometry.layer_depth
    flat = _on_plane(geometry, fast_m, slow_m, depth * geometry.odet + geometry.pix0)
    if not curved:
        return flat
    if by_lab:
        straight = (geometry.distance * geometry.beam).expand_as(flat)
        about_slow, about_fast = flat[..., 1] / geometry.distance, flat[..., 2] / geometry.distance
        return rotate_about(rotate_about(straight, geometry.sdet, about_slow), geometry.fdet, about_fast)
    straight = ((geometry.distance + depth) * geometry.beam).expand_as(flat)
    towards_fast, towards_slow = unit(cross(geometry.beam, geometry.fdet)), unit(cross(geometry.beam, geometry.sdet))
    bent = rotate_about(straight, towards_slow, (slow_m - geometry.beam_s) / geometry.distance)
    return rotate_about(bent, towards_fast, (fast_m - geometry.beam_f) / geometry.distance)


def _on_plane(geometry: DetectorGeometry, fast_m: Tensor, slow_m: Tensor, corner: Tensor) -> Tensor:
    """Points (..., 3) at detector coordinates (...) from a corner (3,); each component lies together in memory."""
    fdet, sdet, corner = (axis.reshape(3, *[1] * fast_m.ndim) for axis in (geometry.fdet, geometry.sdet, corner))
    return (fast_m * fdet + slow_m * sdet + corner).movedim(0, -1)


def deflection(geometry: DetectorGeometry, fast_m: Tensor, slow_m: Tensor, layer: int, position: Tensor,
               airpath: Tensor, *, curved: bool) -> Tensor:
    """d - b, the change of direction (..., 3) from the beam to points at unit direction d = position/airpath.

    Without the cancellation at small angles: with w the position as seen from the point r·b on the beam,
    R - r = (2r w·b + w²)/(R + r) and d - b = (w - (R - r)b)/R.
    """
    reach, beam = torch.abs(geometry.distance), geometry.beam
    if curved:
        offset = position - reach * beam
    else:
        offset = _on_plane(geometry, fast_m, slow_m, layer * geometry.layer_depth * geometry.odet + geometry.corner)
    excess = (2.0 * reach * dot(offset, beam) + dot(offset, offset)) / (airpath + reach)
    return (offset - excess[..., None] * beam) / airpath[..., None]


def solid_angle(geometry: DetectorGeometry, airpath_m: Tensor, *, point_pixel: bool, facing: bool = False) -> Tensor:
    """Solid angle of a whole pixel seen over an air path (...): sr, or 1/m² for point pixels (part B §3.6).

    `facing`: every pixel faces the crystal, as on a bent detector.
    """
    if point_pixel:
        return 1.0 / airpath_m / airpath_m
    pixel = geometry.pixel_size
    if facing:
        return pixel * pixel / airpath_m / airpath_m
    return pixel * pixel / airpath_m / airpath_m * geometry.close_distance / airpath_m


def _never_zero(cosine: Tensor) -> Tensor:
    return torch.where(cosine == 0, torch.full_like(cosine, SMALLEST_NORMAL), cosine)
