"""What can go wrong on purpose: one line for the user, a stable code, a way out, and the exit code of the command."""

from __future__ import annotations

OK, FINDINGS, USAGE, LEDGER, REFUSED, GIT, BUDGET, NO_RESULT, BREAKER, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 130


class LoopError(Exception):
    """An expected failure. The message is one line; remedy says what the user can do about it.

    exit_code: of the command; code: stable, for programs that read the message.
    """

    exit_code = FINDINGS
    code = "loop"

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.remedy = remedy

    @property
    def line(self) -> str:
        return f"{self} ({self.remedy})" if self.remedy else str(self)


class ConfigError(LoopError):
    """A file or an option that cannot be used as it is."""

    exit_code = USAGE
    code = "config"


class LedgerError(LoopError):
    """A ledger, plan or index that cannot be read well enough for what was asked."""

    exit_code = LEDGER
    code = "ledger"


class RefusedError(LoopError):
    """Something that is not allowed now: a route, a lock, a branch, a dirty checkout."""

    exit_code = REFUSED
    code = "refused"


class GitError(LoopError):
    """A git command that failed, a divergence, a rejected push."""

    exit_code = GIT
    code = "git"
