"""``nanoBragg-batch`` in real processes: its images, going on after an interruption, failures."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cli_samples import smv

from nanobrag_torch.batch.main import main

COMMON = "cell: 50 60 70, default_F: 10, N: 3, detpixels: 16, pixel: 0.1, oversample: 1, mosaic: 0.1"
LONG = f"options: {{{COMMON}, mosaic_domains: 1500}}\nseries: {{phi: {{start: 0, step: 1, count: 40}}}}\n"


def batch(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "nanobrag_torch.batch", *words], capture_output=True, text=True,
                          timeout=120, **options)


def write(text: str) -> None:
    Path("b.yaml").write_text(text)


def images() -> dict[str, bytes]:
    """Contents of the images by name."""
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.suffix in (".bin", ".img", ".pgm")}


def finished(name: str = "b.yaml.finished") -> list[int]:
    return [json.loads(line)["case"] for line in Path(name).read_text().splitlines()]


class TestImages:
    def test_equal_those_of_single_runs_with_the_same_words(self, folder):
        """Header, pixels, float file, grey map and noise of each; lists, masks and orientations shared or not."""
        Path("a.hkl").write_text("0 0 0 100\n1 0 0 50\n0 1 0 25\n-1 0 0 33\n0 0 1 10\n")
        Path("a.mat").write_text("0.02 0 0\n0 0.016 0\n0 0 0.014\n")
        Path("a.mask").write_bytes(smv(np.arange(256, dtype=np.uint16).reshape(16, 16) % 3))
        write(f"options: {{{COMMON}}}\n"
              "cases:\n"
              "- {hkl: a.hkl, mask: a.mask, twotheta: 5}\n"
              "- {hkl: a.hkl, mat: a.mat, misset: random, phi: 0, osc: 1, clean: true}\n"
              "- {hkl: a.hkl, energy: 9000, xds: true, dtype: mixed, roi: 2 12 3 9, nopgm: true, seed: 77}\n")
        result = batch("b.yaml", "-quiet")
        assert (result.returncode, result.stdout) == (0, "")
        made = images()
        assert len(made) == 3 * 4 - 1 + len(["Fdump.bin"])
        commands = batch("b.yaml", "-dry_run").stdout.splitlines()
        singly = Path("singly")
        singly.mkdir()
        for name in ("a.hkl", "a.mat", "a.mask"):
            (singly / name).write_bytes(Path(name).read_bytes())
        for command in commands:
            program, *words = shlex.split(command)
            assert program == "nanoBragg"
            subprocess.run([sys.executable, "-m", "nanobrag_torch", *words, "-quiet"], cwd=singly, check=True,
                           capture_output=True)
        assert {name: (singly / name).read_bytes() for name in made} == made

    def test_warnings_and_notes_once_with_their_first_case(self, folder, capsys):
        write(f"options: {{{COMMON}, polar: 2}}\nseries: {{phi: [1, 2], misset: random}}\n")
        assert main(["b.yaml"]) == 0
        printed = capsys.readouterr()
        for message in ("warning: -polar: a factor of 2", "warning: random orientation of seed 1",
                        "note: single_precision_mosaic"):
            assert printed.err.count(message) == 1
            assert f"case 1 (image_0001.bin): {message}" in printed.err
        assert "1 of 2 images, " in printed.err and "2 of 2 images, 0 s left" in printed.err
        assert printed.out.startswith("2 images in ")

    def test_quiet(self, folder, capsys):
        write(f"options: {{{COMMON}, clean: true}}\nseries: {{phi: [1, 2]}}\n")
        assert main(["b.yaml", "-quiet"]) == 0
        assert capsys.readouterr() == ("", "")


def test_help_and_dry_run_import_no_torch(folder):
    write(f"options: {{{COMMON}}}\nseries: {{phi: [1, 2]}}\n")
    program = ("import sys\nfrom nanobrag_torch.batch.main import main\n"
               "try:\n    main(sys.argv[1:])\nfinally:\n    assert 'torch' not in sys.modules\n")
    for word, lines in (("--help", 30), ("-dry_run", 2), ("--version", 1)):
        result = subprocess.run([sys.executable, "-c", program, "b.yaml", word], capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.count("\n") >= lines
    assert [path.name for path in folder.iterdir()] == ["b.yaml"]


class TestDoneAgain:
    def test_only_what_is_missing_or_changed_is_made(self, folder, capsys):
        write(f"options: {{{COMMON}, hkl: a.hkl}}\nseries: {{phi: [1, 2, 3, 4, 5]}}\n")
        Path("a.hkl").write_text("0 0 0 100\n1 0 0 50\n")
        assert batch("b.yaml", "-quiet").returncode == 0
        assert finished() == [1, 2, 3, 4, 5]
        before = images()
        write(f"options: {{{COMMON}, hkl: a.hkl}}\nseries: {{phi: [1, 2, 30, 4, 5]}}\n")
        Path("image_0001.bin").unlink()
        Path("image_0004.img").write_bytes(before["image_0004.img"][:-100] + bytes(100))
        capsys.readouterr()
        assert main(["b.yaml"]) == 0
        printed = capsys.readouterr()
        assert "2 of 5 images are there already; -redo makes them again" in printed.err
        assert printed.out.startswith("3 images in ")
        changed = {name for name, content in images().items() if before[name] != content}
        assert changed and all(name.startswith("image_0003") for name in changed)
        assert sorted(finished()[5:]) == [1, 3, 4]
        assert main(["b.yaml", "-quiet"]) == 0
        assert len(finished()) == 8

    def test_everything_where_an_input_has_changed_or_it_is_asked_for(self, folder):
        Path("a.hkl").write_text("0 0 0 100\n1 0 0 50\n")
        write(f"options: {{{COMMON}, hkl: a.hkl}}\nseries: {{phi: [1, 2]}}\n")
        assert main(["b.yaml", "-quiet"]) == 0
        Path("a.hkl").write_text("0 0 0 100\n1 0 0 60\n")
        assert main(["b.yaml", "-quiet"]) == 0
        assert main(["b.yaml", "-quiet", "-redo"]) == 0
        assert finished() == [1, 2, 1, 2, 1, 2]

    def test_a_line_cut_short_does_not_count(self, folder):
        write(f"options: {{{COMMON}}}\nseries: {{phi: [1, 2]}}\n")
        assert main(["b.yaml", "-quiet"]) == 0
        manifest = Path("b.yaml.finished")
        whole = manifest.read_bytes()
        manifest.write_bytes(whole[:-20])
        assert main(["b.yaml", "-quiet"]) == 0
        assert manifest.read_bytes().endswith(whole.splitlines(keepends=True)[1])
        assert len(manifest.read_bytes().splitlines()) == 3

    def test_two_processes_at_a_time_are_refused(self, folder):
        write(LONG)
        with started() as first:
            wait_for("image_0001.bin", first)
            os.kill(first.pid, signal.SIGSTOP)  # however long the other one takes to start
            second = batch("b.yaml")
            assert (second.returncode, second.stdout) == (2, "")
            assert second.stderr == ("nanoBragg-batch: error: b.yaml.finished: expected one process at a time, got "
                                     "another one that makes this batch\n")
            first.kill()


class started:
    """A batch that is running, killed in the end."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __enter__(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "nanobrag_torch.batch", "b.yaml", *self.words]
        self.process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        start_new_session=True)
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def wait_for(name: str, process: subprocess.Popen) -> None:
    while not Path(name).exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


class TestInterruption:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_leaves_whole_images_and_says_how_to_go_on(self, folder, number, status):
        write(LONG)
        with started() as process:
            wait_for("image_0002.bin", process)
            while not finished():  # ends with the processes that write: what they have not told yet is made again
                time.sleep(0.005)
            os.killpg(process.pid, number)  # every process of the batch, as a terminal does
            _, error = process.communicate(timeout=60)
        assert process.returncode == status
        count = len(finished())
        assert finished() == list(range(1, count + 1))
        assert error.splitlines()[-1] == (f"nanoBragg-batch: interrupted; {count} of 40 images were finished, "
                                          "the same command makes the others")
        assert "Traceback" not in error
        noted = {f"image_{case:04d}{end}" for case in finished() for end in (".bin", ".img", ".pgm", "_noise.img")}
        assert noted <= set(images())
        assert {len(content) for name, content in images().items() if name.endswith(".bin")} == {16 * 16 * 4}
        assert not list(folder.glob(".*"))

    def test_a_process_told_to_end_twice_removes_what_is_half_written(self, folder):
        program = """
import os, signal
from nanobrag_torch.batch.finish import ending
from nanobrag_torch.io.atomic import all_or_none, atomic_write

def told_again(path, unlink=os.unlink):
    os.kill(os.getpid(), signal.SIGTERM)
    unlink(path)

def write():
    with all_or_none():
        for name in "abc":
            atomic_write(name, b"image")
        os.unlink = told_again
        os.kill(os.getpid(), signal.SIGTERM)

ending(write)
"""
        before = set(folder.iterdir())
        assert subprocess.run([sys.executable, "-c", program]).returncode == 143
        assert set(folder.iterdir()) == before

    def test_a_killed_batch_goes_on_to_the_same_images(self, folder):
        write(LONG)
        with started() as process:
            wait_for("image_0003.bin", process)
        assert main(["b.yaml", "-quiet"]) == 0
        resumed = images()
        Path("b.yaml.finished").unlink()
        for name in resumed:
            Path(name).unlink()
        assert main(["b.yaml", "-quiet"]) == 0
        assert images() == resumed
        assert len(resumed) == 160


class TestFailures:
    def test_the_first_one_ends_the_batch(self, folder, capsys):
        write(f"options: {{{COMMON}}}\ncases: [{{phi: 1}}, {{pgmfile: /dev/full}}, {{phi: 3}}]\n")
        result = batch("b.yaml", "-quiet")
        assert result.returncode == 2
        assert "nanoBragg-batch: error: case 2 (image_0002.bin): /dev/full: cannot be written: no space left" in (
            result.stderr)
        assert finished()[0] == 1 and 2 not in finished()
        assert not Path("image_0002.bin").exists()

    def test_a_writing_process_that_dies_costs_its_images_only(self, folder):
        write(LONG)
        with started("-keep_going") as process:
            wait_for("image_0002.bin", process)
            children = subprocess.check_output(["pgrep", "-f", "-P", str(process.pid), "spawn_main"], text=True)
            os.kill(int(children.split()[0]), signal.SIGKILL)
            output, error = process.communicate(timeout=60)
        failed = re.findall(r"error: case (\d+) .*: a process that writes images ended unexpectedly", error)
        assert process.returncode == (2 if failed else 0)
        assert len(failed) < 20
        assert len(finished()) == 40 - len(failed)
        assert output.startswith(f"{len(finished())} images in ")

    def test_others_go_on_where_asked(self, folder, capsys):
        write(f"options: {{{COMMON}}}\ncases: [{{pgmfile: /dev/full}}, {{phi: 3}}]\n")
        assert main(["b.yaml", "-keep_going"]) == 2
        printed = capsys.readouterr()
        assert "1 failed; the same command makes the images that are missing" in printed.err
        assert printed.out.startswith("1 images in ")
        assert finished() == [2]


def test_example_of_the_readme(folder, capsys):
    text, = re.findall(r"```yaml\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), re.DOTALL)
    Path("rotation.yaml").write_text(text.replace("detpixels: 512", "detpixels: 8").replace("count: 20", "count: 2"))
    Path("lysozyme.hkl").write_text("0 0 0 100\n1 0 0 50\n0 1 1 25\n")
    assert main(["rotation.yaml"]) == 0, capsys.readouterr().err
    assert {"rotation_0001.bin", "rotation_0002_noise.img"} <= images().keys()
