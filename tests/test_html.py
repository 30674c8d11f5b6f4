"""The report: a page that is the same again, loads nothing, and takes what models wrote for text."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browser import chromium
from conftest import Tm
from hypothesis import given
from hypothesis import strategies as st
from shell import pipe, records
from trajectories import call, fault, lines, task, trajectory, turn

from tmcli.records import Trajectory
from tmcli.report.diff import aligned
from tmcli.report.html.blocks import Blocks
from tmcli.report.html.charts import charts
from tmcli.report.html.faults import KINDS, kind
from tmcli.report.summary import Group
from tmcli.report.transcript import Step
from tmcli.score import Made

OWNED = "window.owned=1"
XSS = [
    f"<script>{OWNED}</script>",
    f"</script><script>{OWNED}</script>",
    f"<img src=x onerror={OWNED}>",
    f"<svg onload={OWNED}>",
    f"\"><svg/onload='{OWNED}'>",
    f"' onmouseover='{OWNED}' autofocus onfocus='{OWNED}",
    f"javascript:{OWNED}",
    "<iframe srcdoc='<script>parent.owned=1</script>'></iframe>",
    f"<a href='javascript:{OWNED}'>x</a>",
    f"<details open ontoggle={OWNED}>",
    f"]]><script>{OWNED}</script>",
    f"<!--<script>{OWNED}//-->",
    f"</style><script>{OWNED}</script>",
    f"</title></textarea><script>{OWNED}</script>",
    "<base href='http://127.0.0.1:9/'><meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    f"${{{OWNED}}} {{{{ ''.__class__ }}}} {{% raw %}} $\\frac$ __proto__",
    "a\u202eb\u0000c\u009bd\ufeff\U000e0041",
    "𝕏" * 300,
]


def hostile(i: int) -> Trajectory:
    """An episode in which everything is the i-th of the corpus."""
    evil = XSS[i]
    turns = [
        turn(
            "trial",
            call(evil, reply=evil, **{evil: evil}),
            fault(evil),
            content=f"<trial>{evil}</trial>{evil}",
        ),
        turn("execution", call(evil, reply=evil, ok=False), content=f"<plan>{evil}</plan>"),
        turn("execution", content=f"<answer>{evil}</answer>"),
    ]
    asked = [{"role": "user", "content": evil}]
    tool = [{"type": "function", "function": {"name": evil, "description": evil, "parameters": {}}}]
    tags = {"toolbox": evil, evil: evil, "drift": [evil]}
    one = task(
        i, messages=asked, tools=tool, answer=[evil], tags=tags, env={"kind": "toolbox", "toolbox": evil}
    )
    return trajectory(turns, task=one, prediction=evil, policy={"name": evil}, failure=evil)


def episodes(n: int, policy: str = "scripted", sample: int = 0) -> list[Trajectory]:
    """Every third is wrong; each has a reply of its own."""
    out = []
    for i in range(n):
        wrong = i % 3 == 0
        turns = [
            turn(
                "trial",
                call(ok=False, reply='{"error": "unknown parameter x"}', name_="x"),
                content="<trial>see</trial>",
            ),
            turn(
                "execution",
                call(reply=f'{{"secret": "word-{i}-end"}}', title="Emma"),
                content="<plan>look</plan>",
            ),
            turn("execution", content="<answer>x</answer>"),
        ]
        if policy != "scripted":
            turns = turns[1:]
        given = None if wrong else f"{i} shelves"
        tags = {"hops": 1 + i % 2}
        spent = {"prompt_tokens": 90, "completion_tokens": 10 * len(turns), "turns": len(turns)}
        more = {"prediction": given, "policy": {"name": policy}, "usage": spent}
        out.append(trajectory(turns, task=task(i, tags=tags), sample=sample, **more))
    return out


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def unpacked(text: str, kind: str) -> list[dict[str, Any]]:
    """The blocks that lie in a page."""
    found = re.findall(rf'class="{kind}">([^<]*)<', text)
    return [json.loads(gzip.decompress(base64.b64decode(one))) for one in found]


def test_the_page_says_what_the_table_says_and_loads_nothing(tm: Tm, tmp_path: Path) -> None:
    (tmp_path / "base.jsonl").write_text(lines(*episodes(9, "direct")))
    (tmp_path / "rl.jsonl").write_text(lines(*episodes(9)))
    words = ["eval", "base.jsonl", "rl.jsonl", "--compare", "--html", "report.html"]
    result = tm(*words)
    assert result.returncode == 0, result.stderr
    assert b"the report is report.html" in result.stderr
    first = (tmp_path / "report.html").read_bytes()
    assert tm(*words).returncode == 2, "never replaced unasked"
    assert tm(*words, "--force").returncode == 0
    assert (tmp_path / "report.html").read_bytes() == first
    text = first.decode()
    assert "base.jsonl, rl.jsonl" in text
    assert "66.7%" in text
    assert "rl less base" in text
    for title in ("Accuracy", "Cost and accuracy", "Calls by phase", "Errors of tool calls"):
        assert f"<h3>{title}</h3>" in text
    parsed = Page(text)
    assert not set(parsed.tags) & {"link", "img", "iframe", "object", "embed", "base", "audio", "video"}
    assert not [name for name, _ in parsed.attributes if name in ("src", "style", "srcset", "action")]
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in parsed.attributes if name == "href")
    policy = next(value or "" for name, value in parsed.attributes if (value or "").startswith("default-src"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    rows = [row for one in unpacked(text, "row-block") for row in one["values"]]
    assert len(rows) == 18
    assert [row[2] for row in rows] == ["base"] * 9 + ["rl"] * 9
    whole = unpacked(text, "episode-block")[0]
    assert len(whole["values"]) == 18
    assert len(whole["shared"]) == 1, "the same tools and prompt are kept once"


def test_what_it_refuses(tm: Tm, tmp_path: Path) -> None:
    text = lines(*episodes(2)).encode()
    assert b"--html cannot be stdout" in tm("eval", "--html", "-", input=text).stderr
    assert b"--html FILE" in tm("eval", "--run", "ckpt", input=text).stderr
    result = tm("eval", "--html", "r.html", "--run", "nowhere", input=text)
    assert result.returncode == 2
    assert b"nowhere is no folder of a training run" in result.stderr
    assert not (tmp_path / "r.html").exists()


def test_curves_of_training(tm: Tm, tmp_path: Path) -> None:
    run = tmp_path / "ckpt" / "rl"
    run.mkdir(parents=True)
    logged = [{"step": i, "loss": 1 / i, "reward/outcome": i / 9, "eval_loss": 0.5} for i in range(1, 9)]
    torn = '{"step": 9, "lo'
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in logged) + torn)
    result = tm("eval", "--html", "r.html", "--run", "ckpt/rl", input=lines(*episodes(3)).encode())
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "r.html").read_text()
    assert "<h3>Training: loss</h3>" in text
    assert "<h3>Training: outcome</h3>" in text


def test_the_robustness_curve(tm: Tm, tmp_path: Path) -> None:
    some = []
    for i in range(6):
        for cell in ("none", "rename@0.5", "rename@1.0"):
            tags = {"base": f"t{i}", "set": "seen", "cells": [cell]}
            right = cell == "none" or i % 2
            some.append(trajectory(task=task(i, tags=tags), prediction=f"{i} shelves" if right else "no"))
    result = tm("eval", "--html", "r.html", input=lines(*some).encode())
    assert result.returncode == 0, result.stderr
    assert records(result.stdout)[0]["metrics"]["matrix"]
    text = (tmp_path / "r.html").read_text()
    assert "<h3>Robustness</h3>" in text
    assert "under drift" in text


def test_scores_alone_make_a_page(tm: Tm, tmp_path: Path) -> None:
    scores = tm("eval", "--scores", input=lines(*episodes(4)).encode()).stdout
    result = tm("eval", "--html", "r.html", input=scores)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "r.html").read_text()
    assert [row[-1] for row in unpacked(text, "row-block")[0]["values"]] == [False] * 4


def test_more_than_can_be_read(tm: Tm, tmp_path: Path) -> None:
    result = tm("eval", "--html", "r.html", "--html-limit", "3", input=lines(*episodes(5)).encode())
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "r.html").read_text()
    assert "The first 3 of 5 can be read here" in text
    assert len(unpacked(text, "row-block")[0]["values"]) == 3


def test_a_cut_episode_and_those_that_have_no_score(tm: Tm, tmp_path: Path) -> None:
    broken = trajectory()
    first, second = episodes(2)
    text = lines(first, Trajectory(**{**_fields(broken), "task": {"kind": "task"}}), second)
    result = tm("eval", "--skip-invalid", "--html", "r.html", input=text.encode())
    assert result.returncode == 0, result.stderr
    rows = unpacked((tmp_path / "r.html").read_text(), "row-block")[0]["values"]
    assert [row[0] for row in rows] == [first.id, second.id]


def _fields(one: Trajectory) -> dict[str, Any]:
    names = ("id", "task", "messages", "tools", "turns", "prediction", "stop")
    return {name: getattr(one, name) for name in names}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.lists(VALUES, max_size=9), st.lists(st.integers(0, 2), min_size=9, max_size=9), st.integers(1, 4))
def test_what_is_packed_is_unpacked(values: list[Any], same: list[int], size: int) -> None:
    with Blocks(size, shared="shown") as blocks:
        for value, n in zip(values, same, strict=False):
            blocks.add({"value": value, "shown": {"n": n}})
        packed = list(blocks.lines())
    read = [json.loads(gzip.decompress(base64.b64decode(line))) for line in packed]
    back = [(one["value"], block["shared"][one["shown"]]["n"]) for block in read for one in block["values"]]
    assert back == list(zip(values, same, strict=False))
    assert all(len(block["values"]) <= size for block in read)
    assert not set(b"".join(packed)) & set(b"<>&\"'\n")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ('{"error": "unknown tool \'x\'; tools are: y"}', "unknown tool"),
        ('{"error": "unknown parameter \'x\'; parameters are: y"}', "unknown parameter"),
        ('{"error": "missing parameter \'x\'; parameters are: y"}', "missing parameter"),
        ("f() missing 1 required positional argument: 'x'", "missing parameter"),
        ("f() got an unexpected keyword argument 'x'", "unknown parameter"),
        ('{"error": "title must be a string"}', "wrong value"),
        ('{"error": "no book with id 7"}', "nothing found"),
        ('{"error":"Not Found","status":404}', "nothing found"),
        ('{"error":"Forbidden","status":403}', "not allowed"),
        ('{"error":"slow down","status":429}', "too many requests"),
        ('{"error":"Bad Gateway","status":502}', "server error"),
        ('{"error": "the tool timed out after 10 s"}', "timed out"),
        ("42", "other"),
        (None, "never answered"),
    ],
)
def test_why_a_call_failed(reply: str | None, why: str) -> None:
    assert kind(Made("execution", "f", {}, False, reply)) == why
    assert why in KINDS


def test_pictures_of_hostile_names() -> None:
    """Names may be alike where they are cut, begin with what matplotlib leaves out, or look like formulas."""
    long = "_" + "$x^{" * 20
    faults = {
        long + "a": Counter({"other": 2}),
        long + "b": Counter({"other": 3}),
        "<&\x00\u202e": Counter(other=1),
    }
    numbers = {"accuracy": 0.5, "interval": [0.2, 0.8], "calls": 2.0, "tokens": 9.0}
    groups = [Group({"file": who}, numbers | {"tokens": float(i)}, True) for i, who in enumerate(faults)]
    drawn = list(charts(groups, {}, faults, []))
    assert [one.title for one in drawn] == [
        "Accuracy",
        "Cost and accuracy",
        "Calls by phase",
        "Errors of tool calls",
    ]
    assert drawn == list(charts(groups, {}, faults, []))
    for one in drawn:
        root = ElementTree.fromstring(one.svg)
        assert {
            name for part in root.iter() for name in part.attrib if "}" in name or name == "style"
        } == set()
        assert "#0a0" not in one.svg, "every colour is the page's"
        assert "\u202e" not in one.svg


# ---- in a real browser ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("html")


@pytest.fixture(scope="module")
def browser(folder: Path) -> Iterator[Any]:
    with chromium(folder) as found:
        yield found


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    """Two policies, 90 tasks."""
    (folder / "base.jsonl").write_text(lines(*episodes(90, "direct")))
    (folder / "rl.jsonl").write_text(lines(*episodes(90)))
    made = pipe("tm eval base.jsonl rl.jsonl --html report.html", folder, {})
    assert made.returncode == 0, made.stderr
    return folder / "report.html"


@pytest.fixture
def report(page: Path, browser: Any) -> Iterator[Any]:
    """The browser with that page, new and ready; it must have nothing to complain about."""
    opened(browser, page)
    yield browser
    assert browser.get_log("browser") == []


def opened(browser: Any, page: Path, hash: str = "") -> None:  # noqa: A002 - as an address calls it
    browser.get("about:blank")  # else another #hash of one page is no new page
    browser.get(page.as_uri() + hash)
    until(browser, "document.documentElement.dataset.ready === 'yes'")


def until(browser: Any, condition: str) -> None:
    """Waits for it, as long as a test may take."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60, 0.05).until(
        lambda driver: driver.execute_script(f"return {condition}"), condition
    )


def found(browser: Any) -> str:
    until(browser, "document.getElementById('found').dataset.busy === 'no'")
    return str(browser.execute_script("return document.getElementById('found').textContent"))


def go(browser: Any, hash: str) -> None:  # noqa: A002
    browser.execute_script(f"location.hash = {json.dumps(hash)}")
    until(browser, f"parse().toString() === asked.toString() && location.hash === {json.dumps(hash)}")


def click(browser: Any, selector: str) -> None:
    """Found and clicked at once: the list may be drawn anew in between."""
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def choose(browser: Any, name: str, word: str) -> None:
    from selenium.webdriver.support.ui import Select

    element = browser.find_element("css selector", f"select[name='{name}']")
    Select(element).select_by_value(word)


def test_filter_search_open_and_fold(report: Any) -> None:
    assert found(report) == "180 episodes"
    assert len(report.find_elements("css selector", "#rows li")) == 50
    choose(report, "outcome", "wrong")
    assert found(report) == "60 of 180 episodes"
    choose(report, "file", "rl")
    assert found(report) == "30 of 180 episodes"
    choose(report, "tag hops", "2")
    assert found(report) == "15 of 180 episodes"
    assert report.find_element("css selector", "#more summary").text == "Filters (3 on)"
    click(report, "#clear")
    assert found(report) == "180 episodes"
    report.find_element("id", "q").send_keys("WORD-77-end")
    until(report, "asked.get('q') === 'WORD-77-end'")
    assert found(report) == "2 of 180 episodes", "told by a reply, deep inside"
    click(report, "#rows li:last-child a")
    until(report, "document.querySelectorAll('#detail .step').length === 3")
    first = report.find_element("css selector", "#detail details.call")
    assert first.get_attribute("open") is None
    assert "error" in first.get_attribute("class")
    click(report, "#detail details.call summary")
    assert "name_" in first.find_element("css selector", "pre").text
    phases = report.find_elements("css selector", "#detail .step > .line .chip")
    assert [one.text for one in phases] == ["trial", "execution", "execution"]
    colours = {one.value_of_css_property("color") for one in phases}
    assert len(colours) == 2


def test_a_link_shows_the_same_and_keys_go_on(report: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    go(report, "#outcome=right&sort=calls&page=2&open=91")
    assert found(report) == "120 of 180 episodes"
    until(report, "document.querySelector('#detail h3') !== null")
    assert report.find_element("css selector", "#pages span").text == "page 2 of 3"
    body = report.find_element("css selector", "body")
    body.send_keys("j")
    until(report, "asked.get('open') === '92'")
    body.send_keys("k")
    until(report, "asked.get('open') === '91'")
    body.send_keys("/")
    assert report.switch_to.active_element.get_attribute("id") == "q"
    report.switch_to.active_element.send_keys(Keys.ESCAPE)
    report.find_element("css selector", "body").send_keys(Keys.ESCAPE)
    until(report, "!asked.has('open')")


def test_two_policies_on_one_task(report: Any) -> None:
    go(report, "#open=7&with=97")
    until(report, "document.querySelectorAll('#detail .pair[data-turns]').length > 0")
    assert turns_of(report) == expected(episodes(90, "direct")[7], episodes(90)[7])


def turns_of(browser: Any) -> list[tuple[str, str]]:
    parts = browser.find_elements("css selector", "#detail .pair[data-turns]")
    return [(part.get_attribute("data-turns"), part.get_attribute("data-differs")) for part in parts]


def expected(left: Trajectory, right: Trajectory) -> list[tuple[str, str]]:
    """The rows of `tm show --diff`, as the page marks its own."""
    return [
        (f"{_place(row.left)}:{_place(row.right)}", " ".join(row.differs)) for row in aligned(left, right)
    ]


def _place(step: Step | None) -> str:
    return "" if step is None else str(step.number - 1)


CALLS = st.sampled_from(
    [call("f", x=1), call("f", x=2), call("f", x=1, reply="no"), call("g", x=1), call("g", ok=False), fault()]
)
TURNS = st.lists(
    st.builds(
        lambda phase, some, said, state: turn(phase, *some, content=said, state=state),
        st.sampled_from(["trial", "execution"]),
        st.lists(CALLS, max_size=2),
        st.sampled_from(["", "<plan>a</plan>", "<trial>b</trial>"]),
        st.sampled_from(["ok", "repaired"]),
    ),
    max_size=6,
)


def test_the_page_aligns_turns_as_show_does(browser: Any, tm: Tm, tmp_path: Path) -> None:
    some: list[tuple[Trajectory, Trajectory]] = []

    @given(TURNS, TURNS)
    def collect(a: list[Any], b: list[Any]) -> None:
        one = task(len(some))
        some.append((trajectory(a, task=one), trajectory(b, task=one, sample=1)))

    collect()
    (tmp_path / "runs.jsonl").write_text(lines(*(one for pair in some for one in pair)))
    assert tm("eval", "runs.jsonl", "--html", "report.html").returncode == 0
    opened(browser, tmp_path / "report.html")
    script = """
      const done = arguments[arguments.length - 1];
      (async () => {
        const out = [];
        for (let i = 0; i < rows.length; i += 2) {
          const [a, b] = [(await episode(rows[i])).steps, (await episode(rows[i + 1])).steps];
          const differs = (m, n) => (a[m] && b[n] ? differing(a[m], b[n]).join(" ") : "");
          out.push(aligned(a, b).map(([m, n]) => [`${m ?? ""}:${n ?? ""}`, differs(m, n)]));
        }
        done(out);
      })();
    """
    told = browser.execute_async_script(script)
    for (left, right), mine in zip(some, told, strict=True):
        assert [tuple(row) for row in mine] == expected(left, right)


def test_hostile_text_stays_text(browser: Any, tm: Tm, tmp_path: Path) -> None:
    name = f"<img src=x onerror={OWNED}>.jsonl"
    (tmp_path / name).write_text(lines(*(hostile(i) for i in range(len(XSS)))))
    (tmp_path / "other.jsonl").write_text(lines(*(hostile(i) for i in range(len(XSS)))))
    result = tm("eval", name, "other.jsonl", "--by", f"toolbox,{XSS[2]}", "--html", "report.html")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "report.html").read_text()
    assert not set(Page(text).tags) & {"img", "iframe", "base", "a href"}
    assert not re.findall("[\x00-\x08\u202e\x9b]", text)
    opened(browser, tmp_path / "report.html")
    elements = "document.querySelectorAll('img, iframe, base, object, embed, link, script[src]').length"
    for i in range(len(XSS)):
        go(browser, f"#open={i}")
        until(browser, f"document.querySelector('#detail').dataset.number === '{i}'")
        if i < 2:
            go(browser, f"#open={i}&with={i + len(XSS)}")
            until(browser, "document.querySelectorAll('#detail .pair .step').length === 6")
        assert browser.execute_script("return [window.owned ?? null, document.title.length > 0]") == [
            None,
            True,
        ]
        assert browser.execute_script(f"return {elements}") == 0
    go(browser, "#open=1")
    until(browser, "document.querySelector('#detail .asked .text') !== null")
    assert browser.find_element("css selector", "#detail .asked .text").text == XSS[1]
    go(browser, "#open=16")
    until(browser, "document.querySelector('#detail .asked .text').textContent.startsWith('a')")
    assert browser.find_element("css selector", "#detail .asked .text").text.startswith(
        "a\\u202eb\\x00c\\x9bd\\ufeff"
    )
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == [], "nothing was even tried that the policy had to forbid"


def test_the_policy_lets_nothing_run(report: Any) -> None:
    """Were there a hole, the browser itself would still refuse."""
    report.execute_script(
        "const one = document.createElement('div'); document.body.append(one);"
        f'one.innerHTML = \'<img src=x onerror="{OWNED}"><svg onload="{OWNED}">\''
    )
    report.execute_async_script("setTimeout(arguments[0], 50)")
    assert report.execute_script("return window.owned ?? null") is None
    said = " ".join(entry["message"] for entry in report.get_log("browser"))
    assert "Content Security Policy" in said


def test_light_dark_and_telephone(report: Any, page: Path, tmp_path: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).color"
    light = report.execute_script(ground)
    pictures = "return getComputedStyle(document.querySelector('figure svg text')).fill"
    ink = report.execute_script(pictures)
    (tmp_path / "phone").mkdir()
    with chromium(tmp_path / "phone", width=360, height=740, dark=True, phone=True) as phone:
        opened(phone, page)
        assert phone.execute_script(ground) != light
        assert phone.execute_script(pictures) != ink, "pictures turn dark as well"
        for place in ("", "#open=3", "#open=3&with=93"):
            opened(phone, page, place)
            until(phone, "document.getElementById('detail').children.length > 0")
            assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
        opened(phone, page, "#open=3")
        until(phone, "document.querySelectorAll('#detail .step').length > 0")
        assert not phone.find_element("id", "list").is_displayed(), "one thing at a time"
        phone.find_element("css selector", ".back").send_keys("\n")
        until(phone, "!asked.has('open')")
        assert phone.find_element("id", "list").is_displayed()
        assert phone.get_log("browser") == []


def test_what_a_screen_reader_finds(report: Any) -> None:
    nameless = report.execute_script(
        "return [...document.querySelectorAll('input, select, button, svg[role=img], nav, section')]"
        ".filter((one) => !(one.labels?.length || one.getAttribute('aria-label')"
        " || one.getAttribute('aria-labelledby') || one.textContent.trim())).map((one) => one.outerHTML)"
    )
    assert nameless == []
    assert report.find_element("id", "found").get_attribute("role") == "status"
    headings = report.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3')].map((h) => Number(h.tagName[1]))"
    )
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))
    ids = report.execute_script("return [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_ten_thousand_episodes(browser: Any, tm: Tm, tmp_path: Path) -> None:
    with open(tmp_path / "runs.jsonl", "w") as file:
        for sample in range(10):
            file.write(lines(*episodes(1000, sample=sample)))
    assert tm("eval", "runs.jsonl", "--html", "report.html").returncode == 0
    opened(browser, tmp_path / "report.html")
    assert found(browser) == "10,000 episodes"
    go(browser, "#outcome=wrong")
    assert found(browser).startswith("3,340 of")
    go(browser, "#q=word-999-end")
    assert found(browser).startswith("10 of")
    go(browser, "#open=9999")
    until(browser, "document.querySelectorAll('#detail .step').length === 3")
    assert os.stat(tmp_path / "report.html").st_size < 20_000_000
    assert browser.get_log("browser") == []
