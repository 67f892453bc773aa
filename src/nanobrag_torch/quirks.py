"""Known faults of the canonical program, by name.

`Quirks.upstream()` reproduces every one of them, so that images agree pixel by pixel; `Quirks.clean()` computes what
the options say. ``docs/differences.md`` shows both numbers for each.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields


def _fault(section: str, summary: str) -> bool:
    return field(default=False, metadata={"section": section, "summary": summary})


@dataclass(frozen=True)
class Quirks:
    """One switch per fault; True reproduces the canonical program, False computes the stated physics."""

    phi_carryover: bool = _fault(
        "part B §4.7", "a phi step at exactly 0 reuses the orientation of the step evaluated before it")
    running_product: bool = _fault(
        "part B §8", "-oversample_thick/_polar/_omega multiply the running sum, not the contribution")
    source_weights_ignored: bool = _fault(
        "part B §5.4", "weights of a source list are not used; all sources count the same")
    interpolation_latch: bool = _fault(
        "part B §6.3", "the first index whose neighbours leave the list switches interpolation off for good")
    last_layer_capture: bool = _fault(
        "part B §3.8", "all sensor layers are added unweighted and multiplied by the last layer's capture fraction")
    sensor_layer_step: bool = _fault(
        "part B §3.7", "n sensor layers are each thickness/(n-1) thick, more than the sensor in total")
    polar_first_ray: bool = _fault(
        "part B §3.8", "the polarisation factor of a pixel is that of its first sub-pixel and source")
    omega_first_subpixel: bool = _fault(
        "part B §3.8", "the solid angle of a pixel is that of its first sub-pixel and layer")
    water_scaling: bool = _fault(
        "part B §8", "the water background carries r_e² x fluence twice and is divided by the number of steps")
    curved_detector: bool = _fault(
        "part B §3.5", "-curved_det bends by the laboratory y and z of a pixel, not by its detector coordinates")
    triclinic_cell_axes: bool = _fault(
        "part B §4.1", "-cell with two or more oblique angles gives a skewed c* axis")
    forced_pivot: bool = _fault(
        "part B §2.2", "-pivot has no effect in the five named conventions")
    pix0_ignored: bool = _fault(
        "part B §2.3", "-pix0_vector only selects the custom convention")
    twotheta_axis_unnormalised: bool = _fault(
        "part B §2.3", "a two-theta axis that is not a unit vector shears the detector")
    custom_normal_kept: bool = _fault(
        "part B §2.3", "a custom detector keeps the default normal unless its length differs from 1")
    twotheta_distance: bool = _fault(
        "part B §3.3", "with two-theta the recomputed distance and beam centre are not the true ones")
    nopolar_defeated: bool = _fault(
        "part B §3.8", "-oversample_polar computes the polarisation in spite of -nopolar")
    spot_width_by_volume: bool = _fault(
        "part B §7", "gauss and tophat widths scale with Na x Nb x Nc instead of each axis' own count")
    sinc3_cancellation: bool = _fault(
        "part B §7", "the round-crystal transform loses all digits on an exact Bragg hit")
    single_precision_mosaic: bool = _fault(
        "part B §4.5", "mosaic rotation angles are rounded to single precision")
    interpolation_before_size: bool = _fault(
        "part B §4.6", "automatic interpolation is decided before crystal sizes are converted to cells")
    step_counts: bool = _fault(
        "part A §§2.6, 2.7", "a count of steps without a range means one radian, or is discarded")
    rmsd_counts_masked: bool = _fault(
        "part A §4.7", "masked pixels enter the rmsd, and so the grey-map scale, as zeros")
    header_close_distance: bool = _fault(
        "part A §7 Q9", "CLOSE_DISTANCE of an input header disables -distance")
    mask_beam_centre: bool = _fault(
        "part A §3.5", "BEAM_CENTER_Y of a mask header is measured from the opposite edge")
    silent_cache: bool = _fault(
        "part A §7 Q18", "a structure-factor cache in the working folder is used without being asked for")
    clock_orientation: bool = _fault(
        "part A §7 Q16", "a random orientation follows the clock unless -misset_seed is given, whatever -seed says")
    noise_wraparound: bool = _fault(
        "part A §7 Q34", "noise values below zero wrap around to large counts")
    header_values: bool = _fault(
        "part A §7 Q11, Q27", "image headers give untrue centres with two-theta, and lack a semicolon and the offset")

    @classmethod
    def upstream(cls) -> Quirks:
        """Every fault of the canonical program, the command line's default."""
        return cls(**{entry.name: True for entry in fields(cls)})

    @classmethod
    def clean(cls) -> Quirks:
        """No fault: what the options say; the Python API's default."""
        return cls()

    @staticmethod
    def describe(name: str) -> tuple[str, str]:
        """(section of the reference, one-line summary) of a fault."""
        metadata = Quirks.__dataclass_fields__[name].metadata
        return metadata["section"], metadata["summary"]
