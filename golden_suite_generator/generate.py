#!/usr/bin/env python3
"""Regenerate golden data from a case file with any build of nanoBragg.

    python generate.py FOLDER [FOLDER ...] --binary ./nanoBragg [--only REGEX] [--jobs N] [--check]

FOLDER holds cases.yaml and, under inputs/, the files that its command lines name. Every case runs in a
private folder with a copy of inputs/; what it leaves behind is packed beside cases.yaml as

    ID.npz     image (float32, slow x fast); where the case asks for them int_image, noise_image (uint16)
               and pgm_image (uint8)
    ID.json    exit status, headers as text, figures printed on the console, a summary of the image

With --check nothing is written: the new results are compared with the stored ones (pixels and headers
exactly, printed figures to the digits printed) and each difference is named. Exit status 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

TIMEOUT_S = 600
NUMBER = r"([-+0-9.eE]+|[-+]?nan|[-+]?inf)"
PRINTED = {
    r"^\s*(\d+)x\d+ pixel oversample steps": ("oversample",),
    r"^\s*(\d+) sources": ("sources",),
    r"^\s*(\d+) mosaic domains over": ("mosaic_domains",),
    r"^\s*(\d+) phi steps from": ("phi_steps",),
    r"^\s*(\d+) initialized hkls": ("initialized_hkls",),
    r"xtal: (\d+)x(\d+)x(\d+) cells": ("Na", "Nb", "Nc"),
    rf"incident fluence: {NUMBER} photons": ("fluence",),
    r"sensor is \S+ m thick in (\d+) layers": ("thick_layers",),
    rf"Fbeam={NUMBER} Sbeam={NUMBER}": ("Fbeam", "Sbeam"),
    rf"Fclose={NUMBER} Sclose={NUMBER}": ("Fclose", "Sclose"),
    rf"subtended by detector = {NUMBER} steradian": ("solid_angle",),
    rf"^max_I = {NUMBER}\s+at {NUMBER} {NUMBER}": ("max_I", "max_I_fast_m", "max_I_slow_m"),
    rf"^mean= {NUMBER} rms= {NUMBER} rmsd= {NUMBER}": ("mean", "rms", "rmsd"),
    rf"^intfile_scale = {NUMBER}": ("intfile_scale",),
    rf"^pgm_scale = {NUMBER}": ("pgm_scale",),
    rf"^{NUMBER} photons on noise image \((\d+) overloads\)": ("noise_photons", "noise_overloads"),
    rf"^volume = {NUMBER} A\^3": ("volume_A3",),
}


def printed_figures(console: str) -> dict[str, float]:
    """Figures of the console output by name, with the digits that were printed."""
    figures: dict[str, float] = {}
    for pattern, names in PRINTED.items():
        if match := re.search(pattern, console, re.M):
            figures.update(zip(names, map(float, match.groups()), strict=True))
    return figures


def read_smv(path: Path) -> tuple[str, np.ndarray]:
    """Header text and pixels; the pixels are found from the end, since old headers can be too long."""
    raw = path.read_bytes()
    header = raw[: raw.index(b"}\f") + 1].decode("latin1")
    fast, slow = (int(re.search(rf"SIZE{i}=\s*(\d+)", header)[1]) for i in (1, 2))
    return header, np.frombuffer(raw[-2 * fast * slow :], dtype="<u2").reshape(slow, fast)


def read_pgm(path: Path) -> tuple[str, np.ndarray]:
    """Header lines and pixels of a grey map."""
    lines = path.read_bytes().split(b"\n", 4)
    fast, slow = map(int, lines[1].split())
    pixels = np.frombuffer(lines[4][: fast * slow], dtype=np.uint8).reshape(slow, fast)
    return b"\n".join(lines[:4]).decode("latin1"), pixels


def run(binary: str, arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [binary, *shlex.split(arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S)


def summary(image: np.ndarray) -> dict[str, Any]:
    pixels = image.astype(np.float64)
    brightest = np.unravel_index(int(pixels.argmax()), pixels.shape)
    return {
        "shape_slow_fast": list(image.shape),
        "sum": float(pixels.sum()),
        "max": float(pixels.max()),
        "max_slow_fast": [int(i) for i in brightest],
        "mean": float(pixels.mean()),
        "std": float(pixels.std()),
        "nonzero_fraction": float((pixels != 0).mean()),
    }


def collect(case: dict[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Headers, image summary and arrays of the outputs that a case left in its folder."""
    outputs, headers, arrays = case["outputs"], {}, {}
    headers["int"], integer = read_smv(folder / outputs["int"])
    if case.get("store_int"):
        arrays["int_image"] = integer
    arrays["image"] = np.fromfile(folder / outputs["float"], dtype="<f4").reshape(integer.shape)
    if "noise" in outputs:
        headers["noise"], arrays["noise_image"] = read_smv(folder / outputs["noise"])
    if "pgm" in outputs:
        headers["pgm"], arrays["pgm_image"] = read_pgm(folder / outputs["pgm"])
    return {"headers": headers, "image": summary(arrays["image"])}, arrays


def build_case(case: dict[str, Any], binary: str, inputs: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Run a case; its record for the JSON file and its arrays (none if it is to be refused)."""
    with tempfile.TemporaryDirectory(prefix="golden_") as name:
        folder = Path(name)
        if inputs.is_dir():
            shutil.copytree(inputs, folder / "inputs")
        for preparation in case.get("setup", []):
            run(binary, preparation, folder).check_returncode()
        result = run(binary, case["args"], folder)
        record: dict[str, Any] = {"id": case["id"], "exit_status": result.returncode}
        if case.get("expect") == "error":
            if result.returncode <= 0 or (folder / case["outputs"]["float"]).exists():
                raise RuntimeError("the case should have been refused")
            return record | {"reason": case.get("error_reason", "")}, {}
        if result.returncode:
            raise RuntimeError(f"exit status {result.returncode}: {result.stderr.strip()[-500:]}")
        found, arrays = collect(case, folder)
        return record | found | {"stats": printed_figures(result.stdout)}, arrays


def differences(record: dict[str, Any], arrays: dict[str, np.ndarray], stored: Path) -> list[str]:
    """What sets a new result apart from the stored one; printed figures may differ in the last digit."""
    old = json.loads(stored.with_suffix(".json").read_text())
    found = [key for key in ("headers", "image") if record.get(key) != old.get(key)]
    if (record["exit_status"] == 0) != (old["exit_status"] == 0):
        found.append("exit_status")
    for name, value in record.get("stats", {}).items():
        known = old.get("stats", {}).get(name)
        if known is not None and not math.isclose(value, known, rel_tol=2e-6, abs_tol=1e-12):
            found.append(f"{name} {value:g} (stored: {known:g})")
    if arrays:
        with np.load(stored.with_suffix(".npz")) as archive:
            if set(archive.files) != set(arrays):
                found.append(f"arrays {sorted(arrays)} (stored: {sorted(archive.files)})")
            common = set(archive.files) & set(arrays)
            found += [f"{k}: {n} pixels" for k in sorted(common)
                      if (n := int((archive[k].view(f"u{archive[k].itemsize}")
                                    != arrays[k].view(f"u{arrays[k].itemsize}")).sum()))]
    return found


def process(case: dict[str, Any], folder: Path, binary: str, check: bool) -> list[str]:
    """Regenerate or check one case; returns problems."""
    target = folder / case["id"]
    try:
        record, arrays = build_case(case, binary, folder / "inputs")
        if check:
            return differences(record, arrays, target)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as problem:
        return [f"{type(problem).__name__}: {problem}"]
    target.with_suffix(".json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    if arrays:
        np.savez_compressed(target.with_suffix(".npz"), **arrays)
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--binary", default=str(Path(__file__).with_name("nanoBragg")), help="any build of nanoBragg")
    parser.add_argument("--only", default="", metavar="REGEX", help="only cases whose id matches")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="compare with what is stored, write nothing")
    args = parser.parse_args()
    binary = shutil.which(args.binary)
    if binary is None:
        parser.error(f"--binary: no such program: {args.binary}")
    failed = 0
    for folder in args.folders:
        spec = yaml.safe_load((folder / "cases.yaml").read_text())
        cases = [case for case in spec["cases"] if re.search(args.only, case["id"])]
        with ThreadPoolExecutor(max(1, args.jobs)) as pool:
            results = pool.map(lambda c, f=folder: process(c, f, str(Path(binary).resolve()), args.check), cases)
            for case, problems in zip(cases, results, strict=True):
                print(case["id"], "ok" if not problems else "; ".join(problems), flush=True)
                failed += bool(problems)
    print(f"{failed} problem(s)")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
