"""`--rule language=...`: what counts as prose, what is long enough to tell, and a switch in the middle."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trajectories import call, task, trajectory, turn

from tmcli.errors import UsageError
from tmcli.filters.language import language, pieces, prose
from tmcli.filters.view import View
from tmcli.protocol import write_call
from tmcli.records import encode

EN = "I look up the flight first, because its gate is what was asked for, and then I answer."
DE = "Ich suche zuerst den Flug heraus, denn nach seinem Flugsteig wurde gefragt, und antworte dann."
FR = "Je cherche d'abord le vol, parce que la question porte sur sa porte d'embarquement."
ZH = "我先查找这个航班，因为问题问的是它的登机口"
RU = "Сначала я найду этот рейс, потому что спрашивали о его выходе на посадку."
JA = "まずこの便を調べます。質問は搭乗口についてだからです"
AR = "أبحث أولا عن هذه الرحلة لأن السؤال كان عن بوابتها"


def said(*texts: str, reply: str = '{"id": 1}', question: str = "Which gate?") -> View:
    asked = task(messages=[{"role": "user", "content": question}])
    steps = [turn("execution", call(reply=reply), content=text) for text in texts]
    return View.of(encode(trajectory(steps, task=asked)))


@pytest.mark.parametrize(("codes", "text"), [("en", EN), ("de", DE), ("fr", FR), ("zh", ZH), ("ru", RU)])
def test_each_passes_its_own_rule_and_no_other(codes: str, text: str) -> None:
    assert language(codes)(said(f"<plan>{text}</plan>")) is None
    assert language(f"en|{codes}")(said(f"<plan>{text}</plan>", EN)) is None
    other = "de" if codes != "de" else "en"
    why = language(other)(said(f"<plan>{text}</plan>"))
    assert why is not None
    assert why.startswith(f"turn 1: {codes} (")


@pytest.mark.parametrize(("code", "text"), [("de", DE), ("zh", ZH), ("ru", RU), ("ja", JA), ("ar", AR)])
def test_a_switch_in_the_middle_is_found(code: str, text: str) -> None:
    check = language("en")
    for turns in ([EN, text, EN * 3], [EN * 3, f"<plan>{EN} {text}</plan>"]):
        if code == "de" and len(turns) == 2:
            continue  # of one script, in one turn: the longer part tells
        why = check(said(*turns))
        assert why is not None
        assert why.startswith(f"turn 2: {code} (") or code == "ar"


PASSES = {
    "too short": "Das Buch.",
    "a call": write_call("suche", {"titel": DE}),
    "quoted": f'The title is "{DE}", it says.',
    "quoted otherwise": f"The title is “{DE}” or «{RU}» or 「{ZH}」.",
    "code": f"```python\n# {DE}\n```",
    "JSON": json.dumps({DE: [DE, {"a": 1}]}),
    "names": "suche_das_buch findeDenFlug flug.steig.nummer " * 20,
    "an address": "https://example.org/" + DE.replace(" ", "-"),
    "numbers": "12 + 30 = 42 " * 20,
    "nothing": "",
}


@pytest.mark.parametrize("name", PASSES)
def test_what_is_no_prose_passes(name: str) -> None:
    assert language("en")(said(PASSES[name], EN)) is None
    assert language("en")(said(PASSES[name])) is None


def test_words_that_were_shown_are_nobodys_choice() -> None:
    check = language("en")
    for text in (ZH, RU, DE):
        assert check(said(f"The gate of {text}")) is not None or text == DE
        assert check(said(f"The gate of {text}", reply=f'{{"name": "{text}"}}')) is None
        assert check(said(f"The gate of {text}", question=f"What is {text}?")) is None


def test_short_pieces_are_looked_at_together() -> None:
    short = ["Ich suche das Buch.", "Das war es nicht.", "Nun frage ich anders.", "Jetzt habe ich es."]
    assert language("en")(said(short[0])) is None
    why = language("en")(said(*short))
    assert why is not None
    assert why.startswith("de (Ich suche")


def test_wrong_codes_are_told() -> None:
    for codes, told in (
        ("english", "no language has the code 'english'"),
        ("", "needs the code"),
        ("|", "code"),
    ):
        with pytest.raises(UsageError, match=told):
            language(codes)
    assert language("EN, de")(said(DE, EN)) is None


@given(st.text(max_size=300))
def test_pieces_hold_every_letter_once_and_nothing_fails(text: str) -> None:
    letters = sorted(filter(str.isalpha, text))
    assert sorted(letter for _, piece in pieces(text) for letter in piece if letter.isalpha()) == letters
    prose(text)


def test_the_same_text_has_the_same_language() -> None:
    check = language("en")
    one = said(EN, DE, EN)
    assert check(one) == language("en")(one) == check(one)
