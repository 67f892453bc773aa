"""The morning page: complete, self-contained, and deaf to what agents write."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from browser import browser, program

from nanobrag_loop import report
from nanobrag_loop.gates import GateResult
from nanobrag_loop.items import FrozenItem, PastAttempt
from nanobrag_loop.records import Record, from_text

EVIL = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">'\"&{{ 7*7 }}"


def gate(value, state):
    return GateResult("A-1#1", "metric", EVIL, state, EVIL, criterion=1, value=value, op=">=", threshold=48)


def record(attempt, result, value, **more):
    state = "pass" if value >= 48 else "fail"
    return Record(
        "20261123T000000Z-000" + str(attempt),
        "A-1",
        attempt,
        result,
        EVIL,
        agent=EVIL,
        claim="success",
        extra={"blocked_on": EVIL},
        summary=EVIL,
        at="2026-11-23T00:00:00Z",
        gates=(gate(value, state),),
        **more,
    )


RECORDS = [
    record(1, "failed", 40, guard=({"code": "A1", "path": EVIL, "message": EVIL, "remedy": EVIL},)),
    record(2, "partial", 45),
    record(
        3,
        "success",
        50,
        artifacts=(
            {"path": "reports/a b<c>.json", "kept": "git", "sha256": "0"},
            {"path": "javascript:alert(1)", "kept": "git", "sha256": "0"},
        ),
    ),
    Record("20261123T000000Z-0009", "GONE-1", 1, "failed"),
]
ITEMS = [
    FrozenItem("A-1", EVIL, "High", "blocked", attempts=(PastAttempt(1, "2026-11-23", EVIL),)),
    FrozenItem("B-1", "t", "Low", "done"),
]


@pytest.fixture(scope="module")
def html():
    needs = report.needs_a_person(ITEMS, RECORDS, ["20261123T000000Z-0002"])
    return report.page(report.Morning(ITEMS, RECORDS, needs, "c" * 40, "main", "2026-11-23T06:00:00Z", EVIL))


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.rows = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


def parsed(html):
    reader = Reader()
    reader.feed(html)
    return reader


def test_agents_cannot_inject_markup(html):
    reader = parsed(html)
    assert reader.tags.count("script") == 1
    assert "img" not in reader.tags
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    links = [value for _, name, value in reader.attributes if name in ("href", "src")]
    assert links
    assert all(re.fullmatch(r"\./[\w./%-]+", link) for link in links)
    assert "{{ 7*7 }}" in "".join(reader.text)
    assert EVIL in "".join(reader.text)


def test_nothing_is_loaded_and_only_our_script_may_run(html):
    assert "http" not in re.sub(r"http-equiv", "", html)
    policy = re.search(r'content="(default-src[^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    script = html.split("<script>", 1)[1].split("</script>", 1)[0]
    assert report.csp_hash(script) in policy.replace("&#43;", "+")


def test_everything_is_there(html):
    text = "".join(parsed(html).text)
    needs = ("A-1 is blocked", "A-1 waits for: <script>", "waits for a decision", "was refused (A1)")
    assert [words for words in (*needs, "GONE-1", "4 of 4") if words not in text] == []
    assert html.count("<svg") == 1
    assert html.count("<circle") == 3
    assert 'class="threshold"' in html
    assert "reports/a%20b%3Cc%3E.json" in html


def test_a_curve_of_one_value_on_its_threshold():
    svg = report.curve([(1, 48.0)], gate(48.0, "pass"))
    assert svg.count("<circle") == 1
    assert "nan" not in svg.lower()


@pytest.fixture(scope="module")
def page(html, tmp_path_factory):
    """The report in a real browser: skipped where there is none, unless NB_REQUIRE_BROWSER says that there must be."""
    if program() is None:
        assert not os.environ.get("NB_REQUIRE_BROWSER"), "no Chromium here, and NB_REQUIRE_BROWSER is set"
        pytest.skip("no Chromium here (make browser): the page was parsed only, its script did not run")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "report.html").write_text(html)
    with browser(folder / "profile") as tab:
        tab.address = (folder / "report.html").as_uri()
        yield tab


VISIBLE = "[...document.querySelectorAll('#attempt-rows tbody tr')].filter(row => row.checkVisibility()).length"
SHOWN = "document.getElementById('shown').textContent"
CHOOSE = """(() => {{ const field = document.getElementById({!r}); field.value = {!r};
field.dispatchEvent(new Event("input", {{bubbles: true}})); }})()"""


@pytest.mark.parametrize(
    ("choice", "visible"),
    [("", 4), ("#item=A-1", 3), ("#result=failed", 2), ("#item=A-1&result=failed", 1), ("#text=gone", 1),
     ("#item=nowhere", 4)],
)  # fmt: skip
def test_an_address_keeps_the_choice(page, choice, visible):
    page.open(page.address + choice)
    assert page.read(VISIBLE) == visible
    assert page.read(SHOWN) == f"{visible} of 4"


def test_filters_in_a_browser(page):
    page.open(page.address)
    page.type("#by-text", "gone")
    assert (page.read(VISIBLE), page.read(SHOWN)) == (1, "1 of 4")
    assert page.read("location.hash") == "#item=&result=&text=gone"
    page.open(page.address)
    page.read(CHOOSE.format("by-result", "failed"))
    assert (page.read(VISIBLE), page.read(SHOWN)) == (2, "2 of 4")
    page.read(CHOOSE.format("by-item", "A-1"))
    assert (page.read(VISIBLE), page.read(SHOWN)) == (1, "1 of 4")
    page.read(CHOOSE.format("by-result", ""))
    page.read(CHOOSE.format("by-item", ""))
    assert (page.read(VISIBLE), page.read(SHOWN)) == (4, "4 of 4")


def test_it_renders_in_a_browser(page):
    page.open(page.address)
    assert page.complaints() == []
    assert page.read("getComputedStyle(document.querySelector('table')).borderCollapse") == "collapse"
    assert page.read("document.querySelector('svg').getBoundingClientRect().height") > 40
    assert page.read("document.documentElement.scrollWidth <= innerWidth")


def test_agents_cannot_act_in_a_browser(page):
    """What an agent wrote is text on the page: no element, no handler, no link out, and it did not run."""
    page.open(page.address)
    assert page.read("document.title") == "Loop report, 2026-11-23T06:00:00Z"
    assert page.read("document.scripts.length") == 1
    assert page.read("document.images.length") == 0
    assert page.read("[...document.links].every(link => link.protocol === 'file:')")
    assert EVIL in page.read("document.body.textContent")
    # Even markup that got into the page by a fault of the template would find the page deaf.
    page.read("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    page.read("document.body.append(Object.assign(document.createElement('script'), {text: 'document.title = 2'}))")
    assert page.read("document.title") == "Loop report, 2026-11-23T06:00:00Z"


def test_records_round_trip_and_stay_small():
    many = tuple({"code": "A1", "path": "p" * 200, "message": "m" * 200, "remedy": "r"} for _ in range(500))
    text = record(4, "failed", 1, guard=many).text()
    assert len(text.encode()) <= 16 * 1024
    again = from_text(text)
    assert again.extra["guard_left_out"] > 400
    assert from_text(RECORDS[1].text()).gates == RECORDS[1].gates


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "run": "r"}'])
def test_what_is_no_record(text):
    with pytest.raises(ValueError):
        from_text(text)


def test_templates_are_packaged():
    assert {path.name for path in Path(report.TEMPLATES).iterdir()} >= {"report.html.j2", "report.css", "report.js"}
