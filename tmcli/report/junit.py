"""A JUnit report of an evaluation, as CI servers show it.

    report = JUnit()
    report.add(score, "runs")
    report.write("junit.xml", outcomes)

One test case a threshold, in the suite `thresholds`: they decide the exit code. One a trajectory, in a suite
a file: a wrong answer is a failure, a world that broke is an error, what nobody can judge is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from tmcli import streams
from tmcli.records import Score
from tmcli.report.thresholds import Outcome

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not (2.2 Characters)."""

KINDS = {"failure": "failures", "error": "errors", "skipped": "skipped"}
"""An element in a test case -> the attribute of the suite that counts it."""


class JUnit:
    """Collects the cases; each takes some hundred bytes."""

    def __init__(self) -> None:
        self.suites: dict[str, list[tuple[str, str, str, str]]] = {}

    def add(self, score: Score, file: str) -> None:
        kind, said = "", ""
        if score.stop == "infrastructure":
            kind, said = "error", "the world broke: server, sandbox or tool machinery"
        elif score.correct is None:
            kind, said = "skipped", "nobody can judge it"
        elif not score.correct:
            kind, said = "failure", f"wrong (stop: {score.stop})"
        place = ".".join(str(score.tags[tag]) for tag in ("toolbox", "split") if score.tags.get(tag))
        self.suites.setdefault(file or "trajectories", []).append((score.id, place or "task", kind, said))

    def write(self, path: str, outcomes: Iterable[Outcome], *, force: bool = False) -> None:
        """The file, whole or not at all."""
        limits = [
            (f"{one.who} {one.threshold.metric}".strip(), "tm eval", "" if one.ok else "failure", one.says)
            for one in outcomes
        ]
        root = Element("testsuites", name="tm eval")
        for name, cases in {"thresholds": limits, **self.suites}.items():
            suite = SubElement(root, "testsuite", name=_text(name), tests=str(len(cases)))
            for kind, counter in KINDS.items():
                suite.set(counter, str(sum(case[2] == kind for case in cases)))
            for case, place, kind, said in cases:
                element = SubElement(suite, "testcase", name=_text(case), classname=_text(place))
                if kind:
                    SubElement(element, kind, message=_text(said))
        indent(root)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with streams.new_file(path, force=force) as sink, sink.buffered() as out:
            ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)


def _text(value: str) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)
