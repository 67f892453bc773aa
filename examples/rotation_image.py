"""A one-degree rotation image of a lysozyme crystal, as a synchrotron would take it.

    python examples/rotation_image.py demo

writes structure factors, the image without noise (SMV and raw floats), the image with noise (SMV and PNG), and prints
the command that made them.

A 50 µm crystal consists of some hundred million mosaic blocks that scatter independently. One block is simulated, in
the orientations that mosaic spread and spindle give it, and the flux is multiplied by the number of blocks. The water
about the crystal is divided by the same number, so that its background is that of the real drop. One sample per pixel
is coarse for so narrow spots (the command says so); the many orientations make up for it.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from lysozyme_structure_factors import EDGE_A, EDGE_B, EDGE_C, write_list
from nanobrag_torch.io.smv import read_smv

CRYSTAL_UM = 50.0
WATER_UM = 100.0
CELLS_PER_BLOCK_EDGE = 15
FLUX_PER_S = 1e12
DETECTOR_MM = 204.8
ADC_OFFSET = 40
BLACK_OVER_BACKGROUND = 4
GREYS = 16


def mosaic_blocks() -> float:
    """How many blocks the crystal has."""
    block_um3 = EDGE_A * EDGE_B * EDGE_C * CELLS_PER_BLOCK_EDGE**3 * 1e-12
    return CRYSTAL_UM**3 / block_um3


def command(pixels: int) -> list[str]:
    """The simulation's arguments, for a detector of `pixels` × `pixels`."""
    blocks = mosaic_blocks()
    text = f"""
        -hkl lysozyme.hkl -cell {EDGE_A} {EDGE_B} {EDGE_C} 90 90 90 -misset 5 83 14
        -N {CELLS_PER_BLOCK_EDGE} -gauss_xtal -mosaic 0.2 -mosaic_domains 10 -phi 0.5 -osc 1 -phisteps 20
        -lambda 0.9793 -polar 0.99 -flux {FLUX_PER_S * blocks:.4g} -exposure 0.1 -beamsize 0.1
        -water {WATER_UM / blocks ** (1 / 3):.4g}
        -distance 200 -detpixels {pixels} -pixel {DETECTOR_MM / pixels:g} -oversample 1
        -floatfile float.bin -intfile image.img -scale 1 -noisefile noise.img -seed 1 -adc {ADC_OFFSET} -nopgm -clean
    """
    return text.split()


def write_preview(path: Path, photons: np.ndarray) -> None:
    """PNG as image viewers show it: binned 2 × 2, white for none, linearly to black at a few times the background."""
    slow, fast = (length // 2 for length in photons.shape)
    binned = photons[: 2 * slow, : 2 * fast].reshape(slow, 2, fast, 2).sum(axis=(1, 3))
    grey = 1.0 - np.clip(binned / (BLACK_OVER_BACKGROUND * max(float(np.median(binned)), 1.0)), 0.0, 1.0)
    levels = np.uint8(np.rint(grey * (GREYS - 1)) * (255 // (GREYS - 1)))
    Image.fromarray(levels).quantize(GREYS).save(path, optimize=True, bits=4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pixels", type=int, default=1024, help="per edge (default %(default)s)")
    parser.add_argument("--resolution", type=float, default=1.6, help="smallest spacing, Å (default %(default)s)")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    count = write_list(folder / "lysozyme.hkl", arguments.resolution)
    words = command(arguments.pixels)
    print(f"{count} structure factors in {folder}/lysozyme.hkl\ncd {folder}; nanoBragg {shlex.join(words)}", flush=True)
    status = subprocess.run([sys.executable, "-m", "nanobrag_torch", *words], cwd=folder).returncode
    if status == 0:
        write_preview(folder / "noise.png", read_smv(folder / "noise.img").data - float(ADC_OFFSET))
        print(f"Look at {folder}/noise.png, or open {folder}/noise.img (SMV) in adxv or DIALS.")
    return status


if __name__ == "__main__":
    sys.exit(main())
