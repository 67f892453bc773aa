"""Outputs appear whole or not at all, and are checked before the work begins."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nanobrag_torch.errors import InputError
from nanobrag_torch.io import atomic_write, check_writable
from nanobrag_torch.io.atomic import all_or_none

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")


def test_pieces_are_written_in_order(tmp_path):
    atomic_write(tmp_path / "out", (b"head", np.arange(3, dtype=np.uint8), bytearray(b"tail")))
    assert (tmp_path / "out").read_bytes() == b"head\x00\x01\x02tail"
    assert os.listdir(tmp_path) == ["out"]


def test_new_files_obey_the_umask_and_old_ones_keep_their_mode(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "new", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    (tmp_path / "new").chmod(0o604)
    atomic_write(tmp_path / "new", b"y")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o604


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    def pieces():
        yield b"half"
        raise failure

    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(failure):
        atomic_write(tmp_path / "out", pieces())
    assert (tmp_path / "out").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    atomic_write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_relative_name_without_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable({"-floatfile": "out"})
    atomic_write("out", b"x")
    assert (tmp_path / "out").read_bytes() == b"x"


def test_missing_directory_is_named(tmp_path):
    path = tmp_path / "none" / "out"
    with pytest.raises(InputError) as refusal:
        atomic_write(path, b"x")
    assert str(refusal.value) == f"{path}: cannot be written: no such file or directory"


def test_directory_is_not_replaced(tmp_path):
    with pytest.raises(InputError, match="cannot be written: is a directory$"):
        atomic_write(tmp_path, b"x")


@needs_permissions
def test_protected_file_is_not_replaced(tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o444)
    with pytest.raises(InputError, match="cannot be written: permission denied$"):
        atomic_write(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"old"


@needs_dev_full
def test_full_device_is_one_line():
    with pytest.raises(InputError, match="^/dev/full: cannot be written: no space left on device$"):
        atomic_write("/dev/full", b"x" * 100000)


def test_full_disk_keeps_the_old_file(tmp_path):
    """A limit on the size of files stands for the full disk: the write fails half-way in the same manner."""
    script = (
        "import resource, signal, sys\n"
        "from nanobrag_torch.io import atomic_write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "atomic_write(sys.argv[1], (b'x' * 4000, b'y' * 400000))\n"
    )
    (tmp_path / "out").write_bytes(b"old")
    run = subprocess.run([sys.executable, "-c", script, tmp_path / "out"], capture_output=True, text=True)
    assert run.stderr.strip().endswith(f"InputError: {tmp_path / 'out'}: cannot be written: file too large")
    assert (tmp_path / "out").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_null_device_and_pipes_are_written_to(tmp_path):
    atomic_write("/dev/null", b"x")
    assert not os.path.isfile("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    atomic_write(tmp_path / "pipe", b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)


def test_standard_output_is_written_to_even_when_it_is_a_file(tmp_path):
    script = "from nanobrag_torch.io import atomic_write; atomic_write('/dev/stdout', b'image')"
    with open(tmp_path / "captured", "wb") as captured:
        inode = os.fstat(captured.fileno()).st_ino
        subprocess.run([sys.executable, "-c", script], stdout=captured, check=True)
    assert (tmp_path / "captured").read_bytes() == b"image"
    assert (tmp_path / "captured").stat().st_ino == inode


def test_good_outputs_pass_and_are_not_touched(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "list.hkl").write_bytes(b"1 2 3 4")
    outputs = {"-floatfile": str(tmp_path / "new"), "-intfile": str(tmp_path / "old"), "-noisefile": "/dev/null"}
    check_writable({**outputs, "-pgmfile": "/dev/null"}, {"-hkl": str(tmp_path / "list.hkl")})
    assert sorted(os.listdir(tmp_path)) == ["list.hkl", "old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"-floatfile": ""}, "-floatfile: expected a file name, got an empty one"),
        ({"-floatfile": "{dir}"}, "-floatfile {dir}: expected a file name, got a directory"),
        ({"-floatfile": "{dir}/new/"}, "-floatfile {dir}/new/: expected a file name, got a directory"),
        ({"-floatfile": "{dir}/new/."}, "-floatfile {dir}/new/.: expected a file name, got a directory"),
        ({"-floatfile": "a" * 300}, f"-floatfile {'a' * 40!r}...: cannot be written: file name too long"),
        ({"-floatfile": "nul\0"}, "-floatfile 'nul\\x00': cannot be written: embedded null byte"),
        ({"-floatfile": "{dir}/none/a"}, "-floatfile {dir}/none/a: cannot be written: no such directory"),
        (
            {"-floatfile": "{dir}/a", "-intfile": "{dir}/./a"},
            "-intfile {dir}/./a: expected a file of its own, got the output of -floatfile",
        ),
        ({"-intfile": "{dir}/in.img"}, "-intfile {dir}/in.img: expected a file of its own, got the input of -img"),
        ({"-intfile": "{dir}/hard"}, "-intfile {dir}/hard: expected a file of its own, got the input of -img"),
        ({"-intfile": "{dir}/soft"}, "-intfile {dir}/soft: expected a file of its own, got the input of -img"),
    ],
)
def test_outputs_that_cannot_be_are_refused(tmp_path, outputs, message):
    (tmp_path / "in.img").write_bytes(b"{")
    (tmp_path / "hard").hardlink_to(tmp_path / "in.img")
    (tmp_path / "soft").symlink_to("in.img")
    outputs = {option: path.format(dir=tmp_path) for option, path in outputs.items()}
    with pytest.raises(InputError) as refusal:
        check_writable(outputs, {"-img": str(tmp_path / "in.img")})
    assert str(refusal.value) == message.format(dir=tmp_path)


@needs_permissions
def test_protected_directory_and_file_are_refused(tmp_path):
    (tmp_path / "out").write_bytes(b"old")
    (tmp_path / "out").chmod(0o444)
    with pytest.raises(InputError, match="write-protected"):
        check_writable({"-floatfile": str(tmp_path / "out")})
    tmp_path.chmod(0o555)
    with pytest.raises(InputError, match="the directory is not writable"):
        check_writable({"-floatfile": str(tmp_path / "other")})
    tmp_path.chmod(0o755)


class TestTogether:
    """Files of one image: the last one cannot take its place."""

    @pytest.fixture(params=["second names", "copies"])
    def folder(self, request, tmp_path, monkeypatch):
        if request.param == "copies":
            monkeypatch.setattr(os, "link", self.refused)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @staticmethod
    def refused(source, destination):
        raise PermissionError(1, "Operation not permitted") if os.path.exists(source) else FileNotFoundError

    def test_all_take_their_places(self, folder):
        (folder / "old").write_bytes(b"before")
        with all_or_none():
            for name in ("old", "new"):
                atomic_write(name, b"image")
            assert (folder / "old").read_bytes() == b"before"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"old": b"image", "new": b"image"}

    def test_those_before_are_put_back(self, folder, monkeypatch):
        (folder / "old").write_bytes(b"before")
        original = os.replace
        monkeypatch.setattr(os, "replace", lambda source, target: original(
            source, "missing/last" if target.endswith("last") else target))
        with pytest.raises(InputError, match="last: cannot be written: no such file or directory$"), all_or_none():
            for name in ("old", "new", "last"):
                atomic_write(name, b"image")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"old": b"before"}

    def test_a_folder_made_meanwhile(self, folder):
        (folder / "old").write_bytes(b"before")
        with pytest.raises(InputError, match="last: cannot be written: "), all_or_none():
            for name in ("old", "last"):
                atomic_write(name, b"image")
            (folder / "last").mkdir()
        assert (folder / "old").read_bytes() == b"before"
        assert sorted(os.listdir(folder)) == ["last", "old"]
