"""The hooks in real repositories, through pre-commit and git, and what still catches what bypasses them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees import SEED, WHO, sh

from nanobrag_loop import hooks
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TEST = "def test_a():\n    assert 1 < 2\n    assert x < 1e-6\n"
FILES = {
    "CLAUDE.md": "# Rules\n", "loop.sh": "#!/bin/sh\n",
    "docs/index.md": "- [rules](../CLAUDE.md)\n- [loop](../loop.sh)\n",
    "docs/fix_plan.md": SEED, "tests/test_a.py": TEST, "other.txt": "x\n",
    ".gitattributes": "docs/fix_plan.md merge=fixplan\n",
}  # fmt: skip


class Clone:
    """A checkout with the hooks installed by `nb-loop install`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *argv: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        return sh(self.root, "git", *argv, check=check, **env)

    def write(self, **files: str | None) -> None:
        for name, text in files.items():
            path = self.root / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
        self.git("add", "-A")

    def commit(self, *argv: str, check: bool = False) -> str:
        """Exit 0 gives an empty text, a refusal what was printed."""
        done = self.git("commit", "-q", "-m", "change", *argv, check=check)
        assert done.returncode in (0, 1)
        return (done.stdout + done.stderr).decode() if done.returncode else ""

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").stdout.decode().strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("hooks")
    sh(folder, "git", "init", "-q", "--bare", "-b", "main", "remote.git")
    sh(folder, "git", "init", "-q", "-b", "main", "clone")
    clone = Clone(folder / "clone")
    clone.git("remote", "add", "origin", str(folder / "remote.git"))
    shutil.copy(ROOT / ".pre-commit-config.yaml", clone.root)
    clone.write(**FILES)
    clone.commit(check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRE_COMMIT_HOME", str(folder / "pre-commit"))
        done = command(clone.root, "install")
        assert done.returncode == 0, done.stderr
        yield clone


@pytest.fixture
def clone(installed):
    """The same clone for every test, on a branch of its own from the first commit."""
    root = installed.git("rev-list", "--max-parents=0", "HEAD").stdout.decode().split()[-1]
    installed.git("checkout", "-q", "-f", "-B", "work", root)
    installed.git("clean", "-q", "-f", "-d")
    return installed


def command(where: Path, *argv: str) -> subprocess.CompletedProcess:
    env = {**os.environ, **WHO}
    words = [sys.executable, "-m", "nanobrag_loop", *argv]
    return subprocess.run(words, cwd=where, env=env, capture_output=True, text=True, check=False)


def test_install_registers_hooks_and_merge_driver(installed):
    done = command(installed.root, "install", "--check")
    assert done.returncode == 0
    assert "pre-commit, pre-merge-commit, pre-push" in done.stdout
    assert "nanobrag_loop.ledger.merge" in installed.git("config", "merge.fixplan.driver").stdout.decode()


def test_a_commit_that_only_deletes_is_refused(clone):
    clone.write(**{"CLAUDE.md": None})
    said = clone.commit()
    assert "A1 CLAUDE.md: deleted; protected by docs/index.md:1" in said
    assert "Way out: restore it" in said
    assert clone.commit("--no-verify") == "", "a hook can be bypassed"
    found = hooks.range_findings(clone.root, Config(), "HEAD~1..HEAD")
    assert [finding.code for finding in found] == ["A1", "A8"], "the check of the range cannot"


def test_an_innocent_commit_passes(clone):
    clone.write(**{"other.txt": "y\n", "CLAUDE.md": "# Rules\n1. One.\n"})
    assert clone.commit() == ""


def test_the_index_that_git_uses_is_the_one_looked_at(clone):
    """`git commit PATH` commits through a temporary index: what else is staged does not matter."""
    clone.write(**{"other.txt": "z\n"})
    clone.git("rm", "-q", "CLAUDE.md")
    assert clone.commit("other.txt") == ""
    assert "A1 CLAUDE.md" in clone.commit()


def test_a_broken_ledger_is_refused_with_its_line(clone):
    clone.write(**{"docs/fix_plan.md": SEED.replace("- Priority: Medium", "- Priority: Maximal", 1)})
    said = clone.commit()
    assert "E206 docs/fix_plan.md:18" in said
    assert "E304 docs/fix_plan.md:9" in said


def test_old_errors_of_the_ledger_do_not_block(clone):
    broken = SEED.replace("- Priority: Medium", "- Priority: Maximal", 1)
    clone.write(**{"docs/fix_plan.md": broken})
    clone.commit("--no-verify", check=True)
    clone.write(**{"docs/fix_plan.md": broken.replace("loop T", "loop U")})
    assert clone.commit() == ""


def test_a_broken_plan_is_refused(clone):
    clone.write(**{"plans/active/x/plan.md": "# Plan\n"})
    assert "E503 plans/active/x/plan.md:1" in clone.commit()


def test_loosened_tests_warn_a_person_and_want_a_trailer(clone):
    clone.write(**{"tests/test_a.py": TEST.replace("1e-6", "1e-2")})
    done = clone.git("commit", "-q", "-m", "looser", "--cleanup=verbatim", check=False)
    assert done.returncode == 0
    assert [f.code for f in hooks.range_findings(clone.root, Config(), "HEAD~1..HEAD")] == ["T4"]
    signed = "looser\n\nGuard-Waiver: T4 tests/test_a.py the platform rounds"
    clone.git("commit", "-q", "--amend", "-m", signed)
    assert hooks.range_findings(clone.root, Config(), "HEAD~1..HEAD") == []


def test_a_merge_is_looked_at_too(clone):
    """A merge commit runs only the pre-merge-commit hook; the deletion that it brings is found."""
    clone.write(**{"loop.sh": None})
    clone.commit("--no-verify", check=True)
    gone = clone.head()
    clone.git("checkout", "-q", "-B", "other", "HEAD~1")
    clone.write(**{"other.txt": "w\n"})
    clone.commit(check=True)
    done = clone.git("merge", "--no-edit", gone, check=False)
    assert done.returncode != 0
    assert "A1 loop.sh" in (done.stdout + done.stderr).decode()
    clone.git("merge", "--abort", check=False)


def test_pushes_are_looked_at_even_if_git_names_no_range(clone):
    first = clone.git("push", "-q", "origin", "HEAD:refs/heads/main", check=False)
    assert first.returncode == 0, first.stderr.decode()
    clone.git("fetch", "-q", "origin")
    clone.write(**{"CLAUDE.md": None})
    clone.commit("--no-verify", check=True)
    clone.write(**{"other.txt": "v\n"})
    clone.commit(check=True)
    for branch in ("main", "brand-new"):
        done = clone.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}", check=False)
        assert done.returncode != 0
        assert "A1 CLAUDE.md" in (done.stdout + done.stderr).decode()
    clone.git("checkout", "-q", "-f", "-B", "work", "HEAD~2")
    clone.write(**{"other.txt": "u\n"})
    clone.commit(check=True)
    assert clone.git("push", "-q", "origin", "HEAD:refs/heads/fine", check=False).returncode == 0


def test_hooks_of_the_main_checkout_hold_in_worktrees(clone):
    tree = clone.root.parent / "tree"
    clone.git("worktree", "add", "-q", "--detach", str(tree), "HEAD")
    other = Clone(tree)
    other.write(**{"CLAUDE.md": None})
    assert "A1 CLAUDE.md" in other.commit()
    clone.git("worktree", "remove", "--force", str(tree))


def test_the_command_tells_the_same_as_the_hook(clone):
    clone.git("rm", "-q", "CLAUDE.md")
    done = command(clone.root, "guard")
    assert done.returncode == 1
    assert "A1 CLAUDE.md" in done.stderr
    asked = command(clone.root, "guard", "--trees", "HEAD", "HEAD", "--json")
    assert (asked.returncode, asked.stdout.strip()) == (0, "[]")
    role = command(clone.root, "guard", "--role", "engineer", "--json")
    assert '"P1"' in role.stdout


def test_a_class_of_findings_can_be_reported_only(clone):
    clone.write(**{"tests/test_a.py": TEST.replace("1e-6", "1e-2")})
    clone.commit("--no-verify", check=True)
    words = ("guard", "--range", "HEAD~1..HEAD")
    assert command(clone.root, *words).returncode == 1
    soft = command(clone.root, *words, "--warn", "T")
    assert soft.returncode == 0
    assert "warning: T4 tests/test_a.py" in soft.stderr
    clone.write(**{"CLAUDE.md": None})
    clone.commit("--no-verify", check=True)
    assert command(clone.root, *words, "--warn", "T").returncode == 1


def test_make_guard_compares_with_what_there_is(clone):
    """With the remote's branch if HEAD is beyond it, else with the commit before, else it says that it cannot."""
    clone.git("update-ref", "-d", "refs/remotes/origin/main")
    tool = clone.root.parent / "nb-loop"
    tool.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT / "src"} exec {sys.executable} -m nanobrag_loop "$@"\n')
    tool.chmod(0o755)

    def make():
        words = ["make", "-s", "-f", ROOT / "Makefile", f"BIN={tool.parent}", "-o", ".venv/installed", "guard"]
        done = subprocess.run(words, cwd=clone.root, capture_output=True, text=True)
        return done.returncode, done.stderr

    first = clone.head()
    assert make() == (0, "make: no earlier commit to compare with: the guard was not run\n")
    clone.write(**{"CLAUDE.md": None})
    clone.commit("--no-verify", check=True)
    assert make()[0] == 2
    clone.write(**{"other.txt": "v\n"})
    clone.commit("--no-verify", check=True)
    assert make() == (0, "")
    clone.git("push", "-q", "--no-verify", "origin", f"+{first}:refs/heads/main")
    code, said = make()
    assert code == 2
    assert "A1 CLAUDE.md" in said


@pytest.mark.parametrize("span", ["HEAD", "HEAD...HEAD", "..HEAD", "HEAD.."])
def test_a_range_that_is_none(clone, span):
    with pytest.raises(ConfigError, match="expected A..B"):
        hooks.range_findings(clone.root, Config(), span)


def test_an_unknown_commit(clone):
    with pytest.raises(ConfigError, match="'nowhere' names no commit"):
        hooks.range_findings(clone.root, Config(), "HEAD..nowhere")


def test_usage():
    done = subprocess.run([sys.executable, "-m", "nanobrag_loop.hooks", "post-commit"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: ")
