"""SMV images: the header byte for byte, the look-up rule, masks, and every way in which an input image can be bad."""

import json
import re
from dataclasses import replace
from pathlib import Path

import fabio
import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.io import SmvHeader, read_smv, render_mask, write_smv

GOLDEN = Path(__file__).parents[1] / "golden_data"

EXAMPLE = SmvHeader(
    fast_pixels=4,
    slow_pixels=4,
    pixel_mm=0.1,
    distance_mm=100.0,
    wavelength_A=1.0,
    beam_center_mm=(0.25, 0.25),
    adxv_center_mm=(0.3, 0.1),
    mosflm_center_mm=(0.25, 0.25),
    denzo_center_mm=(0.3, 0.3),
    dials_origin_mm=(-0.3, 0.3, -100.0),
    xds_org_px=(3.5, 3.5),
    close_distance_mm=100.0,
    phi_deg=0.0,
    osc_deg=0.0,
    twotheta_deg=0.0,
)
LONG = replace(EXAMPLE, **{f"{k}_center_mm": (12.3456e-7, 7.65432e-6) for k in ("beam", "adxv", "mosflm")})
VALUES = "4 4 0.1 100 1 0.25 0.25 0.3 0.1 0.25 0.25 0.3 0.3 -0.3,0.3,-100 3.5 3.5 100 0 0 0 0 000 fake"  # from SIZE1


def test_header_of_the_published_example():
    header = EXAMPLE.encode()
    assert len(header) == 512
    text, padding = header.decode("ascii").split("\f")
    assert not padding.strip(" ")
    assert text.startswith(
        "{\nHEADER_BYTES=512;\nDIM=2;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\nSIZE1=4;\nSIZE2=4;\n"
    )
    assert "\nDIALS_ORIGIN=-0.3,0.3,-100\nXDS_ORGX=3.5;\n" in text  # the one entry without a semicolon
    assert re.findall(r"=([^;\n]*)", text)[4:] == VALUES.split()


def test_other_programs_read_the_image(tmp_path):
    counts = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    write_smv(tmp_path / "image.img", replace(EXAMPLE, slow_pixels=3), counts)
    read = fabio.open(tmp_path / "image.img")
    np.testing.assert_array_equal(read.data, counts)
    assert read.header["DISTANCE"] == "100"
    assert read.header["BEAM_CENTER_X"] == "0.25"


def test_header_is_the_canonical_programs():
    stored = json.loads((GOLDEN / "p-noise-mixed.json").read_text())["headers"]["int"]
    header = replace(
        EXAMPLE,
        fast_pixels=80,
        slow_pixels=80,
        pixel_mm=0.5,
        distance_mm=80.0,
        wavelength_A=1.1,
        beam_center_mm=(20.25, 20.25),
        adxv_center_mm=(20.5, 19.5),
        mosflm_center_mm=(20.25, 20.25),
        denzo_center_mm=(20.5, 20.5),
        dials_origin_mm=(-20.5, 20.5, -80.0),
        xds_org_px=(41.5, 41.5),
        close_distance_mm=80.0,
    )
    assert header.encode().decode("ascii").rstrip(" ") == stored + "\f"


def test_corrected_header_ends_every_entry_and_names_the_offset():
    text = replace(EXAMPLE, corrected=True, adc_offset=40.0).encode().decode("ascii")
    entries = text[: text.index("}")].strip("{\n").split("\n")
    assert all(entry.endswith(";") for entry in entries)
    assert "ADC_OFFSET=40;" in entries
    assert "ADC_OFFSET" not in EXAMPLE.encode().decode("ascii")


def test_numbers_are_printed_with_six_digits():
    text = (
        replace(EXAMPLE, distance_mm=123.4567891, pixel_mm=1e-5, phi_deg=-0.0, xds_org_px=(1e6, 0.5)).encode().decode()
    )
    assert "\nDISTANCE=123.457;\nW" in text
    assert "\nPIXEL_SIZE=1e-05;" in text
    assert "\nPHI=-0;\nOSC_START=-0;" in text
    assert "\nXDS_ORGX=1e+06;" in text


def test_long_header_takes_another_block_and_the_image_is_read_back(tmp_path):
    header = replace(
        LONG,
        pixel_mm=0.123457,
        distance_mm=123.457,
        wavelength_A=0.976543,
        denzo_center_mm=(1.23457e-05, 1.23457e-05),
        dials_origin_mm=(-1.23457e-05, 1.23457e-05, -123.457),
        xds_org_px=(0.000123457, 0.000123457),
        twotheta_deg=12.3457,
        osc_deg=0.123457,
    )
    counts = np.arange(16, dtype=np.uint16).reshape(4, 4)
    assert len(header.encode()) == 1024
    write_smv(tmp_path / "long.img", header, counts)
    image = read_smv(tmp_path / "long.img")
    np.testing.assert_array_equal(image.data, counts)
    assert image.number("HEADER_BYTES") == 1024
    assert image.number("TWOTHETA") == 12.3457


def test_header_of_exactly_512_bytes_fits():
    def padded_to(size):
        length = len(EXAMPLE.encode().rstrip(b" "))
        return replace(EXAMPLE, fast_pixels=int("4" * (1 + size - length)))

    assert len(padded_to(512).encode().rstrip(b" ")) == 512
    assert len(padded_to(512).encode()) == 512
    assert len(padded_to(513).encode()) == 1024


def test_written_image_is_header_then_counts(tmp_path):
    counts = np.arange(65520, 65536, dtype=np.uint16).reshape(4, 4)
    write_smv(tmp_path / "out.img", EXAMPLE, counts)
    raw = (tmp_path / "out.img").read_bytes()
    assert raw == EXAMPLE.encode() + counts.tobytes()
    np.testing.assert_array_equal(read_smv(tmp_path / "out.img").data, counts)


def test_counts_of_another_shape_are_a_programming_error(tmp_path):
    with pytest.raises(ValueError, match="do not fit"):
        write_smv(tmp_path / "out.img", EXAMPLE, np.zeros((4, 5), dtype=np.uint16))


def smv(tmp_path, keys, data=b"", size=512, begin="{\nHEADER_BYTES=  512;\n"):
    """Write an SMV file of these header entries and name it."""
    text = begin + "".join(f"{key}={value};\n" for key, value in keys) + "}\f"
    path = tmp_path / "in.img"
    path.write_bytes(text.encode().ljust(size) + data)
    return path


KEYS = [("BYTE_ORDER", "little_endian"), ("TYPE", "unsigned_short"), ("SIZE1", "3"), ("SIZE2", "2")]
DATA = np.arange(6, dtype="<u2")


def test_stored_images_are_read():
    image = read_smv(GOLDEN / "inputs" / "frame_a.img")
    assert image.data.shape == (128, 112)
    assert (image.number("DISTANCE"), image.number("PIXEL_SIZE"), image.number("OSC_RANGE")) == (70.0, 0.35, 0.6)
    assert image.number("CLOSE_DISTANCE") is None
    assert image.text("TYPE") == "unsigned_short"


def test_last_occurrence_of_a_key_counts_even_within_another_key(tmp_path):
    keys = [*KEYS, ("DISTANCE", "100"), ("XDS_ORGX", "1.5"), ("CLOSE_DISTANCE", "90"), ("PHI", "1"), ("PHI", "2")]
    image = read_smv(smv(tmp_path, keys, DATA.tobytes()))
    assert (image.number("DISTANCE"), image.number("DISTANCE", exact=True)) == (90.0, 100.0)
    assert (image.number("ORGX"), image.number("ORGX", exact=True)) == (1.5, None)
    assert image.number("PHI") == image.number("PHI", exact=True) == 2.0


def test_entry_without_semicolon_hides_no_later_key(tmp_path):
    path = tmp_path / "own.img"
    write_smv(path, EXAMPLE, np.zeros((4, 4), dtype=np.uint16))
    image = read_smv(path)
    assert image.text("DIALS_ORIGIN") == "-0.3,0.3,-100"
    assert image.number("XDS_ORGX", exact=True) == 3.5


def test_header_value_that_is_not_a_number_is_refused(tmp_path):
    image = read_smv(smv(tmp_path, [*KEYS, ("WAVELENGTH", "unknown")], DATA.tobytes()))
    with pytest.raises(InputError, match=r"in\.img: expected a number after WAVELENGTH= in the header, got 'unknown'$"):
        image.number("WAVELENGTH")


def test_other_byte_order_is_swapped(tmp_path):
    keys = [("BYTE_ORDER", "big_endian"), *KEYS[1:]]
    image = read_smv(smv(tmp_path, keys, DATA.astype(">u2").tobytes()))
    assert image.data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert image.data.dtype == np.uint16


def test_zero_SIZE1_stands_for_DETECTOR_DIMENSIONS(tmp_path):
    keys = [KEYS[0], ("SIZE1", "0"), ("DETECTOR_DIMENSIONS", "2")]
    assert read_smv(smv(tmp_path, keys, DATA.tobytes())).data.tolist() == [[0, 1], [2, 3]]


def test_long_header_is_read_whole(tmp_path):
    keys = [*KEYS, ("COMMENT", "x" * 600), ("PHI", "30")]
    image = read_smv(smv(tmp_path, keys, DATA.tobytes(), size=1024, begin="{\nHEADER_BYTES= 1024;\n"))
    assert image.number("PHI") == 30.0
    assert image.data[1, 2] == 5


def without(key):
    return [entry for entry in KEYS if entry[0] != key]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (without("BYTE_ORDER"), "expected BYTE_ORDER=little_endian or big_endian in the header, got no such key"),
        (
            [("BYTE_ORDER", "mixed"), *KEYS[1:]],
            "expected BYTE_ORDER=little_endian or big_endian in the header, got 'mixed'",
        ),
        (without("SIZE1"), "expected SIZE1= a whole number above 0 in the header, got no such key"),
        (without("SIZE2"), "expected SIZE2= a whole number above 0 in the header, got no such key"),
        ([*KEYS, ("SIZE2", "-3")], "expected SIZE2= a whole number above 0 in the header, got -3"),
        ([*KEYS, ("SIZE1", "2.5")], "expected SIZE1= a whole number above 0 in the header, got 2.5"),
        ([*KEYS, ("SIZE1", "many")], "expected a number after SIZE1= in the header, got 'many'"),
        (
            [KEYS[0], ("SIZE1", "0")],
            "expected DETECTOR_DIMENSIONS= a whole number above 0 in the header, got no such key",
        ),
        ([*KEYS, ("TYPE", "signed_long")], "expected TYPE=unsigned_short in the header, got 'signed_long'"),
        ([*KEYS, ("SIZE2", "3")], "expected 3 x 3 pixels (18 bytes) after the header, got 12 bytes"),
        ([*KEYS, ("HEADER_BYTES", "2048")], "expected a header of HEADER_BYTES=2048 bytes, got a file of 524"),
    ],
)
def test_bad_headers_and_truncated_images_are_refused(tmp_path, keys, message):
    path = smv(tmp_path, keys, DATA.tobytes())
    with pytest.raises(InputError) as refusal:
        read_smv(path)
    assert str(refusal.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an SMV image (beginning '{', newline, 'HEADER_BYTES='), got ''"),
        (
            b"P5\n4 4\n255\n" + bytes(600),
            r"expected an SMV image (beginning '{', newline, 'HEADER_BYTES='), got 'P5\n4 4\n255\n\x00'...",
        ),
        (b"{\nHEADER_BYTES=512;\n}\f", "expected an SMV image of at least 512 bytes, got 22"),
    ],
)
def test_files_that_are_not_smv_are_refused(tmp_path, data, message):
    path = tmp_path / "in.img"
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        read_smv(path)
    assert str(refusal.value) == f"{path}: {message}"


def test_missing_image(tmp_path):
    with pytest.raises(InputError, match="cannot be read: no such file or directory"):
        read_smv(tmp_path / "none.img")


def test_mask_renders_pixels_that_are_not_zero(tmp_path):
    image = read_smv(smv(tmp_path, KEYS, np.array([0, 1, 65535, 7, 0, 0], dtype="<u2").tobytes()))
    assert render_mask(image, (2, 3)).tolist() == [[False, True, True], [True, False, False]]


def test_mask_of_another_shape_is_refused(tmp_path):
    path = smv(tmp_path, KEYS, DATA.tobytes())
    with pytest.raises(InputError) as refusal:
        render_mask(read_smv(path), (3, 2))
    assert str(refusal.value) == f"{path}: expected a mask of the detector's 2 x 3 pixels (fast x slow), got 3 x 2"
