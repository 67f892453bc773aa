"""Bad input: exit status 2, one line that names what is wrong, and no output file made or touched (part A §6)."""

from __future__ import annotations

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_samples import RUN, smv

OUTPUTS = ("floatimage.bin", "intimage.img", "image.pgm", "noiseimage.img", "Fdump.bin", "preview.png")

BLANK = np.ones((8, 8), dtype=np.uint16)

FILES: dict[str, bytes] = {
    "empty.txt": b"",
    "binary.dat": bytes(range(256)) * 8,
    "good.hkl": b"0 0 0 100\n1 0 0 50\n0 1 0 25\n",
    "text.hkl": b"h k l F\n0 0 0 100\n",
    "five.hkl": b"0 0 0 100 1\n1 0 0 50 1\n",
    "fraction.hkl": b"0 0 0 100\n1 0 0 50\n0.5 1 0 25\n",
    "nan.hkl": b"0 0 0 100\n1 0 0 nan\n",
    "huge.hkl": b"0 0 0 100\n2000000 2000000 2000000 50\n",
    "short.mat": b"0.01 0 0\n0 0.02 0\n",
    "words.mat": b"0.01 0 0\n0 b 0\n0 0 0.03\n",
    "singular.mat": b"0.01 0 0\n0.02 0 0\n0 0 0.03\n",
    "near.mat": b"1 1 1\n1 1 1.0000000000000002\n1 1.0000001 1\n",
    "words.src": b"0 0 10 1 1e-10\n0 0 ten 1 1e-10\n",
    "zero.src": b"0 0 0 1 1e-10\n",
    "unweighted.src": b"-10 0 0 0 1e-10\n",
    "negative.src": b"0 0 10 -1 1e-10\n",
    "dark.src": b"0 0 10 1 0\n",
    "comments.src": b"# X Y Z\n\n",
    "short.img": smv(BLANK)[:300],
    "text.img": b"P5 8 8 255\n" * 100,
    "order.img": smv(BLANK, BYTE_ORDER=None),
    "sizes.img": smv(BLANK, SIZE1=None),
    "cut.img": smv(BLANK)[:600],
    "float.img": smv(BLANK, TYPE="float"),
    "words.img": smv(BLANK, WAVELENGTH="short"),
    "dark.img": smv(BLANK, WAVELENGTH=0),
    "behind.img": smv(BLANK, DISTANCE=-50),
    "other.img": smv(np.ones((6, 8), dtype=np.uint16)),
    "endless.img": smv(BLANK, SIZE1="1e400"),
    "header.img": smv(BLANK).replace(b"HEADER_BYTES=512", b"HEADER_BYTES=1e400"),
    "turning.img": smv(BLANK, OSC_RANGE="1e400"),
    "cut.bin": b"-1 1 0 1 0 1\n\f" + bytes(100),
    "words.bin": b"structure factors\n",
    "reversed.bin": b"1 -1 0 1 0 1\n\f" + bytes(100),
    "tabs.yaml": b"crystal:\n\tcell_a: 1\n",
    "list.yaml": b"- cell\n- 100\n",
    "section.yaml": b"crystal:\n  cell_a: 50\nsample:\n  x: 1\n",
    "field.yaml": b"crystal:\n  cell_a: 50\n  cell_x: 50\n",
    "value.yaml": b"crystal:\n  cell_a: 50\n  cell_b: -50\n",
    "word.yaml": b"crystal:\n  cell_a: long\n",
    "twice.yaml": b"crystal:\n  cell_a: 50\n  cell_a: 60\n",
    "vector.yaml": b"crystal:\n  misset_deg: 5\n",
    "count.yaml": b"crystal:\n  cell_a: 50\ndetector:\n  fpixels: 8.5\n",
    "shape.yaml": b"crystal:\n  shape: cubic\n",
    "object.yaml": b"crystal:\n  cell_a: !!python/name:os.system\n",
    "device.yaml": b"crystal:\n  cell_a: 50\ncomputing:\n  device: tpu\n",
    "threads.yaml": b"computing:\n  threads: 0\n",
    "file.yaml": b"files:\n  floatfile: [a, b]\n",
    "sources.yaml": b"beam:\n  source_directions: [[1, 0]]\n",
    "bool.yaml": b"beam:\n  nopolar: perhaps\n",
    "date.yaml": b"noise:\n  seed: 2001-99-99\n",
    "tagged.yaml": b"noise:\n  seed: !!int abc\n",
    "real.yaml": b"noise:\n  seed: !!float abc\n",
    "maybe.yaml": b"files:\n  floatfile: !!bool maybe\n",
    "time.yaml": b"noise:\n  seed: !!timestamp abc\n",
    "digits.yaml": b"noise:\n  seed: " + b"1" * 5001 + b"\n",
    "large.yaml": b"beam:\n  wavelength_A: 1" + b"0" * 400 + b"\n",
    "hexadecimal.yaml": b"beam:\n  wavelength_A: 0x" + b"f" * 5000 + b"\n",
    "nul.yaml": b'files:\n  dump: "a\\0b"\n',
    "deep.yaml": b"{" * 3000,
    "ragged.yaml": b"detector:\n  mask_array: [[true], [true, false]]\n",
}
"""Bad input files, by the name that the table below uses."""

ALONE: list[tuple[str, str]] = [
    # words that are no options
    ("-nosuch 1", r"-nosuch: unknown option"),
    ("-lamda 1", r"-lamda: unknown option; did you mean -lambda\?"),
    ("-detpixles 64", r"-detpixles: unknown option; did you mean -detpixels"),
    ("-N5", r"-N5: unknown option"),
    ("--lambda 1", r"--lambda: unknown option; did you mean -lambda\?"),
    ("-Lambda 1", r"-Lambda: unknown option; did you mean -lambda\?"),
    ("-hdiv 1", r"-hdiv: unknown option; the working spelling is -hdivrange"),
    ("-vdiv 1", r"-vdiv: unknown option; the working spelling is -vdivrange"),
    ("-dispstep 3", r"-dispstep: .* -dispsteps"),
    ("-detsize_x 10", r"-detsize_x: .* -detsize_f"),
    ("-detsize_y 10", r"-detsize_y: .* -detsize_s"),
    ("-xdet_vector 1 0 0", r"-xdet_vector: .* -fdet_vector"),
    ("-ydet_vector 1 0 0", r"-ydet_vector: .* -sdet_vector"),
    ("-zdet_vector 1 0 0", r"-zdet_vector: .* -odet_vector"),
    ("-source_distance 10", r"-source_distance: unknown option"),
    ("-polarization 0.9", r"-polarization: .* -polar$"),
    ("stray", r"'stray': expected an option"),
    ("-N 5 6", r"'6': expected an option"),
    ("''", r"'': expected an option"),
    ("-twotheta_axis 0 0 1 20", r"'20': expected an option"),
    # values that are missing or no numbers
    ("-lambda", r"-lambda: expected 1 value \(w\), got none"),
    ("-cell", r"-cell: expected 1 value"),
    ("-misset 10 20", r"-misset: expected 3 values \(x y z\), got only 2"),
    ("-roi 1 2 3", r"-roi: expected 4 values \(xmin xmax ymin ymax\), got only 3"),
    ("-beam_vector 1 0", r"-beam_vector: expected 3 values"),
    ("-detector_abs", r"-detector_abs: expected 1 value"),
    ("-detector_thick", r"-detector_thick: expected 1 value"),
    ("-detector_thicksteps", r"-detector_thicksteps: expected 1 value"),
    ("-thicksteps", r"-thicksteps: expected 1 value"),
    ("-printout_pixel 3", r"-printout_pixel: expected 2 values"),
    ("-floatfile -nopgm", r"-floatfile: expected 1 value \(file\), got none"),
    ("-hkl -mat", r"-hkl: expected 1 value"),
    ("-floatfile ''", r"-floatfile: expected a file name"),
    ("-lambda abc", r"-lambda: expected a finite number above 0, got 'abc'"),
    ("-lambda 1,5", r"-lambda: .* got '1,5'"),
    ("-lambda 1A", r"-lambda: .* got '1A'"),
    ("-lambda nan", r"-lambda: .* got 'nan'"),
    ("-distance inf", r"-distance: .* got 'inf'"),
    ("-Xbeam nan", r"-Xbeam: expected a finite number, got 'nan'"),
    ("-fluence 1e999", r"-fluence: .* got '1e999'"),
    ("-N 10.7", r"-N: expected a whole number, 0 or above, got '10.7'"),
    ("-detpixels 1.5", r"-detpixels: expected a whole number, 1 or above, got '1.5'"),
    ("-phisteps x", r"-phisteps: expected a whole number"),
    ("-misset Random", r"-misset: expected 3 values|-misset: expected an angle"),
    ("-misset rand", r"-misset: expected an angle in degrees, or the word random, got 'rand'"),
    ("-pivot corner", r"-pivot: expected beam or sample, got 'corner'"),
    ("-dtype float16", r"-dtype: expected float64, mixed or float32, got 'float16'"),
    ("-device tpu", r"-device: expected cpu, cuda, cuda:N or auto, got 'tpu'"),
    # values out of range
    ("-lambda 0", r"-lambda: expected a finite number above 0, got '0'"),
    ("-wave -1", r"-wave: expected a finite number above 0, got '-1'"),
    ("-energy 0", r"-energy: expected a finite number above 0"),
    ("-pixel 0", r"-pixel: expected a finite number above 0"),
    ("-distance 0", r"-distance: expected a finite number above 0"),
    ("-distance -100", r"-distance: expected a finite number above 0"),
    ("-close_distance -95", r"-close_distance: expected a finite number above 0"),
    ("-detpixels 0", r"-detpixels: expected a whole number, 1 or above"),
    ("-detpixels_x -64", r"-detpixels_x: expected a whole number, 1 or above"),
    ("-detsize 0", r"-detsize: expected a finite number above 0"),
    ("-N -5", r"-N: expected a whole number, 0 or above"),
    ("-Na 1e30", r"-Na: expected a whole number"),
    ("-oversample -1", r"-oversample: expected a whole number, 0 or above"),
    ("-osc -1", r"-osc: expected a finite number, 0 or above"),
    ("-mosaic -0.5", r"-mosaic: expected a finite number, 0 or above"),
    ("-dispersion -1", r"-dispersion: expected a finite number, 0 or above"),
    ("-dispersion 250", r"-dispersion: expected below 200"),
    ("-detector_thick -1", r"-detector_thick: expected a finite number, 0 or above"),
    ("-detector_abs -1", r"-detector_abs: expected a depth"),
    ("-flux 1e12 -beamsize 0", r"-beamsize: expected a finite number above 0"),
    ("-flux 1e12 -exposure 0", r"-exposure: expected a finite number above 0"),
    ("-fluence -1", r"-fluence: expected a finite number, 0 or above"),
    ("-seed 0", r"-seed: expected a whole number from 1 to 2147483647, got '0'"),
    ("-seed -5", r"-seed: expected a whole number from 1"),
    ("-mosaic_seed 2147483648", r"-mosaic_seed: expected a whole number from 1 to 2147483647"),
    ("-misset_seed -1", r"-misset_seed: expected a whole number from 1"),
    ("-threads 0", r"-threads: expected a whole number, 1 or above"),
    ("-default_F 0", r"-hkl, -default_F: expected structure factors"),
    # cells and vectors
    ("-cell 0 50 60", r"-cell: expected a finite edge above 0"),
    ("-cell -50", r"-cell: expected a finite edge above 0"),
    ("-cell 50 60 70 10 90 170", r"-cell: expected angles that close a cell"),
    ("-cell 50 60 70 120 120 120", r"-cell: expected angles that close a cell"),
    ("-cell 50 60 70 90 90 180", r"-cell: expected an angle between 0 and 180"),
    ("-fdet_vector 0 0 0", r"-fdet_vector: expected a vector that is not zero"),
    ("-beam_vector 0 0 0", r"-beam_vector: expected a vector that is not zero"),
    ("-polar 0.9 -polar_vector 1 0 0", r"-polar_vector: expected a direction that is not parallel to the beam"),
    ("-detector_roty 90", r"-detector_roty: expected a detector that the beam meets"),
    ("-detector_rotz -90", r"-detector_rotz: expected a detector that the beam meets"),
    ("-odet_vector 0 0 1 -fdet_vector 1 0 0 -sdet_vector 0 1 0", r"-odet_vector: expected a detector that the beam"),
    ("-beam_vector 0 1 0", r"-beam_vector: expected a detector that the beam meets, .* got 2.2.*e-308$"),
    # regions, pixels, sizes
    ("-roi 5 2 0 7", r"-roi: expected bounds in ascending order that meet the detector"),
    ("-roi 0 7 5 2", r"-roi: expected bounds in ascending order"),
    ("-roi 100 200 0 7", r"-roi: expected bounds in ascending order that meet the detector"),
    ("-trace_pixel 8 0", r"-trace_pixel: expected a rendered pixel"),
    ("-trace_pixel 0 8", r"-trace_pixel: expected a rendered pixel"),
    ("-printout_pixel 8 0", r"-printout_pixel: expected a rendered pixel"),
    ("-roi 0 3 0 3 -trace_pixel 5 5", r"-trace_pixel: expected a rendered pixel"),
    ("-detpixels 1000000", r"-detpixels: expected a detector that fit .* memory"),
    ("-detpixels_f 2000000000 -detpixels_s 2000000000", r"-detpixels_[fs]: expected a detector that fit"),
    ("-round_xtal -fudge -1", r"-fudge: expected .*0 or above, got"),
    ("-mosaic 1 -mosaic_domains 2000000000", r"-mosaic_domains: expected sources and orientations that fit .* memory"),
    ("-osc 1e6 -phistep 1e-6", r"-phistep: expected sources and orientations that fit"),
    ("-hdivrange 1 -vdivrange 1 -hdivstep 50 -vdivstep 50", r"-hdivstep: expected a divergence grid with a source"),
    ("-divsteps 1", r"-divsteps: expected a divergence grid with a source"),
    ("-device cuda:99", r"-device: expected a device that is there, got cuda:99"),
    # numbers at the ends of what there is
    ("-osc 1 -phistep 5e-324", r"-phistep: expected a step that does not vanish beside the range of 1, got 5e-324"),
    ("-osc 1e300 -phistep 1e-300", r"-phistep: expected a step that does not vanish .* got 1e-300"),
    ("-hdivrange 1 -hdivstep 5e-324", r"-hdivstep: expected a step that does not vanish beside the range of 1"),
    ("-vdivrange 1e300 -vdivstep 1e-300", r"-vdivstep: expected a step that does not vanish"),
    ("-vdivrange 5e-324 -vdivstep 5e-324", r"-vdivstep: expected a step that does not vanish"),
    ("-oversample 0 -energy 1e308", r"-energy: expected a wavelength for which at most 2147483647 sub-pixels"),
    ("-oversample 0 -pixel 1e300", r"-pixel: expected a pixel edge for which at most .* got 1e\+297"),
    ("-oversample 0 -samplesize 1e300", r"-samplesize: expected a crystal for which at most .* got 1e\+297"),
    ("-lambda 1e-320", r"-lambda: expected a wavelength for which at most .* got 0.0"),
    ("-cell 1e200", r"-cell: expected a unit cell for which at most"),
    ("-cell 1e-200", r"-cell: expected a unit cell for which at most"),
    ("-clean -pix0_vector 0 0 0", r"-pix0_vector: expected a detector away from the crystal, .* got 0.0"),
    # outputs
    ("-floatfile nowhere/float.bin", r"-floatfile nowhere/float.bin: cannot be written: no such directory"),
    (f"-noisefile {'a' * 300}", r"-noisefile 'a+'\.\.\.: cannot be written: file name too long"),
    ("-floatfile float/", r"-floatfile float/: expected a file name, got a directory"),
    ("-intfile .", r"-intfile \.: expected a file name, got a directory"),
    ("-pgmfile empty.txt/image.pgm", r"-pgmfile empty.txt/image.pgm: cannot be written"),
    ("-floatfile same.bin -intfile same.bin", r"-intfile same.bin: expected a file of its own, .* of -floatfile"),
    ("-floatfile same.bin -intfile ./same.bin", r"-intfile \./same.bin: expected a file of its own"),
    ("-hkl good.hkl -floatfile good.hkl", r"-floatfile good.hkl: expected a file of its own, .* of -hkl"),
    ("-noisefile floatimage.bin", r"-noisefile floatimage.bin: expected a file of its own"),
    ("-hkl good.hkl -dump good.hkl", r"-dump good.hkl: expected a file of its own, .* of -hkl"),
    ("-hkl good.hkl -dump image.pgm", r"image.pgm: expected a file of its own"),
    # files that cannot be read or used
    ("-hkl missing.hkl", r"missing.hkl: cannot be read: no such file"),
    ("-hkl .", r"\.: cannot be read: is a directory"),
    ("-hkl empty.txt", r"empty.txt: expected four numbers \(h k l F\) per line, got an empty file"),
    ("-hkl binary.dat", r"binary.dat: expected four numbers .* got binary data"),
    ("-hkl text.hkl", r"text.hkl:1: expected four numbers \(h k l F\), got 'h k l F'"),
    ("-hkl five.hkl", r"five.hkl:1: expected four columns \(h k l F\), got 5"),
    ("-hkl fraction.hkl", r"fraction.hkl:3: expected three whole numbers"),
    ("-hkl nan.hkl", r"nan.hkl:2: expected four numbers"),
    ("-hkl huge.hkl", r"huge.hkl: expected indices that span at most"),
    ("-mat missing.mat", r"missing.mat: cannot be read: no such file"),
    ("-mat empty.txt", r"empty.txt: expected nine numbers .* got 0"),
    ("-mat short.mat", r"short.mat: expected nine numbers .* got 6"),
    ("-mat words.mat", r"words.mat:2: expected nine numbers .* got 'b'"),
    ("-mat binary.dat", r"binary.dat: expected text, got binary data"),
    ("-mat singular.mat", r"singular.mat: expected three independent reciprocal axes"),
    ("-sourcefile missing.src", r"missing.src: cannot be read"),
    ("-sourcefile empty.txt", r"empty.txt: expected at least one source"),
    ("-sourcefile comments.src", r"comments.src: expected at least one source"),
    ("-sourcefile words.src", r"words.src:2: expected numbers .* got 'ten'"),
    ("-sourcefile zero.src", r"zero.src:1: expected the position of a source"),
    ("-sourcefile negative.src", r"negative.src:1: expected a weight of at least 0"),
    ("-sourcefile unweighted.src -clean", r"-sourcefile: expected weights of 0 or above, .* got \[0.0\]"),
    ("-sourcefile dark.src", r"dark.src:1: expected a wavelength above 0"),
    ("-stol missing.stol", r"missing.stol: cannot be read"),
    ("-Q empty.txt", r"empty.txt: expected two columns"),
    ("-img missing.img", r"missing.img: cannot be read"),
    ("-img empty.txt", r"empty.txt: expected an SMV image"),
    ("-img text.img", r"text.img: expected an SMV image"),
    ("-img short.img", r"short.img: expected an SMV image of at least 512 bytes, got 300"),
    ("-img order.img", r"order.img: expected BYTE_ORDER="),
    ("-img sizes.img", r"sizes.img: expected SIZE1="),
    ("-img cut.img", r"cut.img: expected 8 x 8 pixels \(128 bytes\) after the header, got 88"),
    ("-img endless.img", r"endless.img: expected SIZE1= a whole number above 0 in the header, got inf"),
    ("-img header.img", r"header.img: expected HEADER_BYTES= a whole number above 0 in the header, got inf"),
    ("-img turning.img", r"-img turning.img: expected a finite number, got inf"),
    ("-img turning.img -phistep 1", r"-phistep: expected a step that does not vanish beside the range of inf"),
    ("-img float.img", r"float.img: expected TYPE=unsigned_short"),
    ("-img words.img", r"words.img: expected a number after WAVELENGTH="),
    ("-mask missing.img", r"missing.img: cannot be read"),
    ("-mask binary.dat", r"binary.dat: expected an SMV image"),
    ("-mask cut.img", r"cut.img: expected 8 x 8 pixels"),
    ("-mask other.img", r"other.img: expected a mask of the detector's 8 x 8 pixels .* got 8 x 6"),
    ("-mask other.img -hkl good.hkl", r"other.img: expected a mask of the detector's 8 x 8 pixels"),
    ("-dump missing.bin", r"missing.bin: cannot be read"),
    ("-dump empty.txt", r"empty.txt:1: expected six indices"),
    ("-dump words.bin", r"words.bin:1: expected six indices"),
    ("-dump cut.bin", r"cut.bin: expected 302 bytes for the indices .* got 114"),
    ("-dump reversed.bin", r"reversed.bin:1: expected hmin <= hmax"),
    ("-config missing.yaml", r"missing.yaml: cannot be read"),
    ("-config tabs.yaml", r"tabs.yaml:2: expected YAML"),
    ("-config binary.dat", r"binary.dat: expected YAML"),
    ("-config empty.txt", r"empty.txt:1: expected sections"),
    ("-config list.yaml", r"list.yaml:1: expected sections"),
    ("-config section.yaml", r"section.yaml:3: expected one of crystal, .* got 'sample'"),
    ("-config field.yaml", r"field.yaml:3: expected a field of crystal, got 'cell_x'"),
    ("-config value.yaml", r"value.yaml:3: cell_b: expected a finite edge above 0"),
    ("-config word.yaml", r"word.yaml:2: cell_a: expected a number, got 'long'"),
    ("-config twice.yaml", r"twice.yaml:3: expected 'cell_a' once"),
    ("-config vector.yaml", r"vector.yaml:2: misset_deg: expected three numbers, got '5'"),
    ("-config count.yaml", r"count.yaml:4: fpixels: expected a whole number, got '8.5'"),
    ("-config shape.yaml", r"shape.yaml:2: shape: expected one of square, round, gauss, tophat, got 'cubic'"),
    ("-config object.yaml", r"object.yaml:2: expected YAML"),
    ("-config device.yaml", r"device.yaml:4: device: expected cpu, cuda, cuda:N or auto, got 'tpu'"),
    ("-config threads.yaml", r"threads.yaml:2: threads: expected a whole number, 1 or above"),
    ("-config file.yaml", r"file.yaml:2: floatfile: expected text"),
    ("-config sources.yaml", r"sources.yaml:2: source_directions: expected shape \(n, 3\)"),
    ("-config bool.yaml", r"bool.yaml:2: nopolar: expected true or false, got 'perhaps'"),
    ("-config date.yaml", r"date.yaml:2: seed: expected a whole number, got '2001-99-99'"),
    ("-config tagged.yaml", r"tagged.yaml:2: seed: expected a whole number, got 'abc'"),
    ("-config real.yaml", r"real.yaml:2: seed: expected a whole number, got 'abc'"),
    ("-config maybe.yaml", r"maybe.yaml:2: floatfile: expected text, got 'maybe'"),
    ("-config time.yaml", r"time.yaml:2: seed: expected a whole number, got 'abc'"),
    ("-config digits.yaml", r"digits.yaml:2: seed: expected a whole number, got '1{40}'\.\.\.$"),
    ("-config large.yaml", r"large.yaml:2: wavelength_A: expected a number, got '10{39}'\.\.\.$"),
    ("-config hexadecimal.yaml", r"hexadecimal.yaml:2: wavelength_A: expected a number, got '0xf+'\.\.\.$"),
    ("-config nul.yaml", r"nul.yaml:2: dump: expected text, got 'a\\x00b'"),
    ("-config deep.yaml", r"deep.yaml: expected YAML, got lists or mappings too deep within each other"),
    ("-config ragged.yaml", r"ragged.yaml:2: mask_array: expected rows of true or false, got a list"),
]
"""What is added to a complete command, and the message expected."""

WHOLE: list[tuple[str, str]] = [
    ("", r"-cell, -mat: expected a unit cell or an orientation matrix, got neither"),
    ("-default_F 100 -N 5", r"-cell, -mat: expected a unit cell"),
    ("-cell 50 50 50", r"-hkl, -default_F: expected structure factors, got neither"),
    ("-cell 50 -default_F 1 -detsize 1e9", r"-detsize: expected a detector of 1 to 2147483647 pixels, got 1e\+10"),
    ("-cell 50 -default_F 1 -detsize 1e6", r"-detsize: expected a detector that fit .* got 10000000 x 10000000 pixels"),
    ("-cell 50 -default_F 1 -detsize 10 -pixel 50", r"-detsize: expected a detector of 1 to .* got 0.2"),
    ("-cell 50 -default_F 1 -pixel 1e-300", r"-pixel: expected a detector of 1 to 2147483647 pixels"),
    ("-mat near.mat -default_F 1 -oversample 1", r"-mat: expected a unit cell for which at most"),
    ("-cell 50 -default_F 1 -pixel 1e-323", r"-pixel: expected a detector of 1 to 2147483647 pixels, got inf"),
    ("-cell 50 -default_F 1 -img dark.img", r"-img dark.img: expected a finite number above 0, got 0"),
    ("-cell 50 -default_F 1 -mask behind.img", r"-mask behind.img: expected a finite number above 0, got -50"),
]
"""Whole commands."""


def prepare(folder: Path) -> dict[str, bytes]:
    """Bad inputs and the outputs of an earlier run; returns what is there."""
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    for name in OUTPUTS[:4]:
        (folder / name).write_bytes(b"earlier " + name.encode())
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(status: int, stderr: str, message: str) -> None:
    assert status == 2, stderr
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("nanoBragg: error: ")
    assert re.search(message, lines[0].removeprefix("nanoBragg: error: ")), lines[0]


@pytest.mark.parametrize(("words", "message"), [(f"{RUN} {more}", message) for more, message in ALONE] + WHOLE,
                         ids=[more for more, _ in ALONE] + [f"only {words}" for words, _ in WHOLE])
def test_refused_in_one_line_and_no_file_touched(folder, command, words, message):
    before = prepare(folder)
    result = command(words)
    assert_refused(result.status, result.stderr, message)
    assert result.stdout == ""
    assert contents(folder) == before


def run_program(words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "nanobrag_torch", *shlex.split(words)], capture_output=True,
                          text=True, timeout=120, **options)


@pytest.mark.parametrize(("words", "message"), [
    (f"{RUN} -lambda 0", r"-lambda: expected a finite number above 0"),
    (f"{RUN} -hkl binary.dat", r"binary.dat: expected four numbers"),
    (f"{RUN} -trace_pixel 9 9", r"-trace_pixel: expected a rendered pixel"),
    (f"{RUN} -floatfile /dev/full -nonoise -nopgm", r"/dev/full: cannot be written: no space left on device"),
])
def test_the_program_refuses_as_the_function_does(folder, words, message):
    before = prepare(folder)
    result = run_program(words)
    assert_refused(result.returncode, result.stderr, message)
    assert contents(folder) == before


@pytest.mark.skipif("torch" in sys.modules and sys.modules["torch"].cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(folder, command):
    before = prepare(folder)
    result = command(f"{RUN} -device cuda")
    assert_refused(result.status, result.stderr, r"-device: expected a device that is there, got cuda \(0 GPUs\)")
    assert contents(folder) == before


def test_a_disk_that_fills_up_leaves_every_file_as_it_was(folder):
    before = prepare(folder)
    result = run_program(f"{RUN} -detpixels 64 -quiet", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (10_000, 10_000)))
    assert_refused(result.returncode, result.stderr, r"floatimage.bin: cannot be written: file too large")
    assert contents(folder) == before


def test_standard_output_that_is_full(folder):
    with open("/dev/full", "w") as full:
        result = subprocess.run([sys.executable, "-m", "nanobrag_torch", "-h"], stdout=full, stderr=subprocess.PIPE,
                                text=True, timeout=60)
    assert_refused(result.returncode, result.stderr, r"standard output: cannot be written: no space left on device")


def test_memory_that_runs_out(folder):
    before = prepare(folder)
    result = run_program(f"{RUN} -detpixels 9000 -quiet", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30)))
    assert_refused(result.returncode, result.stderr, r"not enough memory|free memory")
    assert contents(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is protected from root")
@pytest.mark.parametrize("option", ["-hkl", "-mat", "-img", "-mask", "-sourcefile", "-config", "-stol", "-dump"])
def test_input_without_permission(folder, command, option):
    before = prepare(folder)
    (folder / "good.hkl").chmod(0)
    result = command(f"{RUN} {option} good.hkl")
    (folder / "good.hkl").chmod(0o600)
    assert_refused(result.status, result.stderr, r"good.hkl: cannot be read: permission denied")
    assert contents(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is protected from root")
def test_output_without_permission(folder, command):
    before = prepare(folder)
    (folder / "floatimage.bin").chmod(0o400)
    result = command(RUN)
    assert_refused(result.status, result.stderr, r"-floatfile floatimage.bin: cannot be written")
    assert contents(folder) == before


def test_interrupt_during_a_run_leaves_nothing(folder):
    before = prepare(folder)
    words = f"{RUN} -detpixels 1000 -mosaic 1 -mosaic_domains 500 -clean"
    with subprocess.Popen([sys.executable, "-u", "-m", "nanobrag_torch", *shlex.split(words)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            if "evaluations per pixel" in line:  # the last line before the pixels are computed
                break
        program.send_signal(signal.SIGINT)
        _, stderr = program.communicate(timeout=60)
    assert program.returncode == 130
    assert stderr == "nanoBragg: interrupted; no output file was left incomplete\n"
    assert contents(folder) == before
