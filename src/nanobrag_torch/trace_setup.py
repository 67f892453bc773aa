"""The resolved experiment as the plain numbers of a trace's setup (part B §10)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .config import plain
from .geometry import cross, dot, norm, radians, root, unit
from .models import Cell, Crystal
from .scene import Scene
from .simulator import Simulator


def setup_values(simulator: Simulator, scene: Scene) -> dict[str, Any]:
    """Names with units to numbers or lists: detector, beam, sampling and crystal after every automatic choice."""
    return {**_detector(simulator, scene), **_beam(simulator), **_crystal(simulator, scene)}


def _detector(simulator: Simulator, scene: Scene) -> dict[str, Any]:
    detector, geometry = simulator.detector, scene.geometry
    centre, config = detector.beam_centre(), detector.config
    polar = simulator.beam.polarization_direction()
    axis = detector.constant(detector.frame.twotheta) if detector.twotheta_axis is None else detector.twotheta_axis
    rotx, roty, rotz = detector.rotation_angles().tolist()
    pix0 = geometry.pix0.tolist()
    pixel = geometry.pixel_size
    return {
        "pivot": detector.pivot.value.upper(), "fdet_vector": geometry.fdet.tolist(),
        "sdet_vector": geometry.sdet.tolist(), "odet_vector": geometry.odet.tolist(),
        "beam_vector": geometry.beam.tolist(), "polar_vector": polar.tolist(),
        "vert_vector": unit(cross(geometry.beam, polar.to(geometry.beam))).tolist(),
        "spindle_vector": simulator.crystal.spindle_direction().tolist(), "twotheta_axis": axis.tolist(),
        "pix0_vector_m": pix0, "distance_m": geometry.distance.item(),
        "close_distance_m": geometry.close_distance.item(), "ratio": geometry.ratio.item(),
        "Fbeam_m": geometry.beam_f.item(), "Sbeam_m": geometry.beam_s.item(), "Fclose_m": geometry.close_f.item(),
        "Sclose_m": geometry.close_s.item(), "Xbeam_m": centre.x.item(), "Ybeam_m": centre.y.item(),
        "Xclose_m": centre.close_x.item(), "Yclose_m": centre.close_y.item(),
        "ORGX_px": (geometry.close_f / pixel + 0.5).item(), "ORGY_px": (geometry.close_s / pixel + 0.5).item(),
        "dials_origin_mm": (1000.0 * geometry.dials_origin_m).tolist(),
        "twotheta_rad": radians(detector.detector_twotheta_deg).item(), "rotx_rad": rotx, "roty_rad": roty,
        "rotz_rad": rotz, "pixel_size_m": pixel.item(), "fpixels": config.fpixels, "spixels": config.spixels,
        "detsize_f_m": detector.size_f_m.item(), "detsize_s_m": detector.size_s_m.item(),
        "detector_thick_m": plain(detector.detector_thick_um) * 1e-6,
        "detector_thickstep_m": geometry.layer_depth.item() if simulator.choices.layers > 1 else 0.0,
        "detector_thicksteps": simulator.choices.layers, "detector_mu_per_m": _attenuation(simulator, geometry),
    }


def _attenuation(simulator: Simulator, geometry: Any) -> float:
    detector = simulator.detector
    unset = not detector.present("detector_thick_um") and detector.detector_abs_um is None
    return -1.0 if unset else geometry.attenuation.item()


def _beam(simulator: Simulator) -> dict[str, Any]:
    beam, config = simulator.beam, simulator.beam.config
    grids = {}
    for axis in ("hdiv", "vdiv"):
        count, extent, step = beam.plain_grid(axis)
        grids |= {f"{axis}range_rad": extent, f"{axis}step_rad": step, f"{axis}steps": count}
    colours = config.dispersion_steps
    width = plain(beam.dispersion_percent) / 100.0 if colours > 1 else 0.0
    sources = beam.sources(simulator.detector.beam_direction())
    weights = sources.weight / len(sources.weight) if beam.source_weights is None else beam.source_weights
    table = torch.cat((unit(sources.position), weights[:, None], sources.wavelength[:, None]), dim=1)
    return {
        "lambda0_m": beam.wavelength_m.item(), "fluence_ph_m2": beam.fluence_per_m2.item(), **grids,
        "dispersion": width, "dispstep": width / (colours - 1) if colours > 1 else 0.0, "dispsteps": colours,
        "sources_unit_xyz_weight_lambda_m": table.tolist(),
    }


def _crystal(simulator: Simulator, scene: Scene) -> dict[str, Any]:
    crystal, cell = simulator.crystal, simulator.crystal.compute_cell_tensors()
    phi = crystal.phi_angles()
    step = radians(crystal.osc_range_deg) / crystal.config.phi_steps if crystal.phi_step_deg is None else (
        radians(crystal.phi_step_deg))
    na, nb, nc = crystal.cell_counts().tolist()
    return {
        "phi0_rad": phi[0].item(), "osc_rad": radians(crystal.osc_range_deg).item(), "phistep_rad": step.item(),
        "phisteps": crystal.config.phi_steps, **_cell(cell), "misset_rad": crystal.misset_angles().tolist(),
        "Na": na, "Nb": nb, "Nc": nc, "oversample": simulator.choices.oversample,
        "interpolate": int(simulator.choices.interpolate),
        "hkls": 0 if crystal.factors is None else int(crystal.factors.numel()), "default_F": crystal.default_F.item(),
        "mosaic_spread_rad": radians(crystal.mosaic_spread_deg).item(),
        "mosaic_umats_row_major": [matrix.T.reshape(-1).tolist() for matrix in _domain_matrices(crystal)],
    }


def _domain_matrices(crystal: Crystal) -> Tensor:
    """Rotated unit vectors, (domains, 3, 3): row i is the image of lab axis i."""
    return crystal.domain_rotations(torch.eye(3, dtype=crystal.dtype, device=crystal.device))


def _cell(cell: Cell) -> dict[str, Any]:
    direct, reciprocal = cell.axes, cell.reciprocal_axes
    names = ("a", "b", "c")
    values: dict[str, Any] = {f"{name}_A": axis.tolist() for name, axis in zip(names, direct, strict=True)}
    values |= {f"{name}_star_invA": axis.tolist() for name, axis in zip(names, reciprocal, strict=True)}
    values |= {"V_cell_A3": cell.V.item(), "V_star_invA3": 1.0 / cell.V.item()}
    lengths = root(dot(direct, direct))
    values |= {f"{name}_len_A": length.item() for name, length in zip(names, lengths, strict=True)}
    cosines = _cosines(direct)
    for name, cosine in zip(("alpha", "beta", "gamma"), cosines, strict=True):
        values[f"{name}_rad"] = torch.arccos(cosine.clamp(-1.0, 1.0)).item()
    for name, angle in zip(("alpha", "beta", "gamma"), _reciprocal_angles(cell, lengths, cosines), strict=True):
        values[f"{name}_star_rad"] = angle.item()
    return values


def _cosines(axes: Tensor) -> list[Tensor]:
    return [dot(axes[i], axes[j]) / norm(axes[i]) / norm(axes[j]) for i, j in ((1, 2), (2, 0), (0, 1))]


def _reciprocal_angles(cell: Cell, lengths: Tensor, cosines: list[Tensor]) -> list[Tensor]:
    """α*, β*, γ* from sine and cosine, which disagree where a matrix and a cell do (part A §2.9)."""
    stars = norm(cell.reciprocal_axes)
    angles = []
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        sines = torch.sqrt((1.0 - torch.square(cosines[j])) * (1.0 - torch.square(cosines[k])))
        cosine = (cosines[j] * cosines[k] - cosines[i]) / sines
        angles.append(torch.arctan2(lengths[i] / cell.V / stars[j] / stars[k], cosine))
    return angles
