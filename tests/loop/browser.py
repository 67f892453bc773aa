"""A real browser for tests: headless Chromium, driven by the DevTools protocol through two pipes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """The Chromium of this machine; None if it has none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab. Everything is typed, clicked and read as a person and the page's own script would."""

    def __init__(self, process: subprocess.Popen, commands: int, answers: int) -> None:
        self.process, self.commands, self.answers = process, commands, os.fdopen(answers, "rb")
        self.number, self.session = 0, None
        self.events: list[dict] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def receive(self) -> dict:
        data = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, f"the browser ended with {self.process.wait()}"
            data += byte
        return json.loads(data)

    def send(self, method: str, **parameters) -> dict:
        """One command and its answer; what happens meanwhile is kept in `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, address: str) -> None:
        """Load an address and wait for its end; by way of an empty page, so that a new fragment loads it again."""
        for place in ("about:blank", address):
            self.events.clear()
            self.send("Page.navigate", url=place)
            while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
                self.events.append(self.receive())

    def read(self, expression: str):
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def type(self, selector: str, text: str) -> None:
        """Keys typed into a field, one by one."""
        self.read(f"document.querySelector({json.dumps(selector)}).focus()")
        for key in text:
            self.send("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
            self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self) -> list[str]:
        """Errors of the page: exceptions, refused styles and scripts, failed loads."""
        found = [event["params"] for event in self.events if event.get("method") == "Log.entryAdded"]
        thrown = [str(event) for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        return thrown + [row["entry"]["text"] for row in found if row["entry"]["level"] == "error"]


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile, ended afterwards. Pipes 3 and 4 are where Chromium looks for commands."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    argv = [program(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={profile}", "--remote-debugging-pipe"]  # fmt: skip
    joined = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
    with (profile.parent / "browser.log").open("wb") as log:
        process = subprocess.Popen(["bash", "-c", joined, "browser", *argv], pass_fds=(command_read, answer_write),
                                   stdout=log, stderr=log)  # fmt: skip
    os.close(command_read)
    os.close(answer_write)
    page = None
    try:
        page = Page(process, command_write, answer_read)
        yield page
    finally:
        os.close(command_write)
        process.terminate()
        process.wait(20)
        if page:
            page.answers.close()
