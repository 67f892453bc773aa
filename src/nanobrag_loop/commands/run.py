"""`nb-loop run`: engineer cycles and supervisor turns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nanobrag_loop import preparation, runs, sync
from nanobrag_loop.config import Config
from nanobrag_loop.errors import ConfigError, LoopError, RefusedError
from nanobrag_loop.gates import GATES_FILE
from nanobrag_loop.gitio import common_dir, resolve
from nanobrag_loop.preparation import Base, NothingToDo, Preparation, Wish
from nanobrag_loop.session import Session
from nanobrag_loop.supervise import PLANNER, Turn


def register(subparsers) -> None:
    parser = subparsers.add_parser("run", help="engineer cycles and supervisor turns", allow_abbrev=False)
    parser.add_argument("--role", choices=["auto", "engineer", "supervisor"], default="auto")
    parser.add_argument("-n", type=positive, default=None, metavar="N", help="engineer cycles (default 1)")
    parser.add_argument("--item", metavar="ID", help="work on this item")
    parser.add_argument("--agent", metavar="A", help="noop, replay, reproduce, planner, or one of plans/loop.yaml")
    parser.add_argument("--route", metavar="R", help="ask for this prompt; refused if parity does not allow it")
    parser.add_argument(
        "--override-route", metavar="REASON", default="", help="a person at a terminal may override the route"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print route, item, reasons, gates and prompt; change nothing"
    )
    parser.add_argument("--resume", action="store_true", help="bring interrupted runs to their end")
    parser.add_argument("--recheck", action="store_true", help="supervisor: measure the gates of done items again")
    parser.add_argument("--no-pull", action="store_true", help="do not fetch from the upstream")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the agent's output")
    parser.set_defaults(handler=main)


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return int(text)


def main(args: argparse.Namespace, root: Path, config: Config) -> int:
    try:
        return start(args, root, config)
    except OSError as error:
        # A full disk, above all: what the journal says is done is done, the rest is done again.
        place = error.filename or root
        raise LoopError(f"{place}: {error.strerror}", remedy="mend that, then: nb-loop run --resume") from None


def start(args: argparse.Namespace, root: Path, config: Config) -> int:
    if args.override_route and not sys.stdin.isatty():
        raise RefusedError("--override-route is for a person at a terminal")
    wish = Wish(args.item, args.agent, args.route, args.override_route)
    if args.role == "supervisor" and (args.dry_run or args.item or args.route or args.n):
        raise ConfigError("-n, --dry-run, --item and --route are for engineer cycles, not for a supervisor turn")
    if args.dry_run:
        return dry_run(root, config, wish)
    common = common_dir(root)
    with runs.lock(common / "nbloop.lock", f"nb-loop run --role {args.role}"):
        session = Session(
            root, config, wish, args.n or 1, say=say, mirror=mirror if args.verbose else None, pull=not args.no_pull
        )
        if args.resume:
            session.resume_all()
            if args.n is None:
                push_left_over(root, config)
                return 0
        session.refuse_unfinished()
        sync.preflight(root, config.branch)
        push_left_over(root, config)
        turn = Turn(root, common, config, supervisor_agent(args, config), args.recheck, say)
        if args.role == "supervisor":
            return turn.take()
        if args.role == "auto":
            every = config.roles["supervisor"].every
            session.after_cycle = lambda done: turn.take() if every and done % every == 0 else None
        code = session.run()
        if args.role == "auto" and session.breaker.tripped:
            turn.take()
        runs.prune(root)
        return code


def supervisor_agent(args: argparse.Namespace, config: Config) -> str:
    """The supervisor's agent; the built-in planner if none is configured."""
    wanted = args.agent if args.role == "supervisor" and args.agent else config.roles["supervisor"].agent
    return PLANNER if wanted in ("", "noop", PLANNER) else wanted


def push_left_over(root: Path, config: Config) -> None:
    note = sync.push_left_over(root, config)
    if note:
        say(note)


def dry_run(root: Path, config: Config, wish: Wish) -> int:
    commit = resolve(root, f"refs/heads/{config.branch}")
    try:
        plan = preparation.prepare(Base(root, commit), config, wish)
    except NothingToDo as reason:
        say(str(reason))
        return 0
    for line in described(plan):
        print(line)
    return 0


def described(plan: Preparation) -> Sequence[str]:
    """What the next cycle would do, line by line."""
    lines = [
        f"base     {plan.base.commit}",
        f"route    {plan.route.name}: {plan.route.reason}",
        f"item     {plan.item.id}, attempt {plan.attempt}: {plan.item.title}",
        f"agent    {plan.agent.name}: {' '.join(plan.agent.argv)}",
        "reasons",
        *(f"  {verdict.item}: {verdict.reason}" for verdict in plan.verdicts),
        "gates",
        *(f"  {gate.id} (criterion {gate.criterion}, {gate.kind}): {gate.title}" for gate in plan.gates),
    ]
    if not plan.gates:
        lines.append(f"  none in {GATES_FILE}: the item cannot be closed by the loop")
    return [*lines, f"prompt   {plan.template}, {len(plan.prompt.encode('utf-8', 'replace'))} bytes", "", plan.prompt]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def mirror(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()
