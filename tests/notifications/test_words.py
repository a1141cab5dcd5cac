"""Every code that the code itself writes down has words: a new one without them is found here, not by a clerk."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest
from django.conf import settings

from billing import parameters
from billing.ledger_words import KINDS as ENTRY_KINDS
from billing.supply import Verdict
from meters import words as meters_words
from meters.wire import base
from notifications.kinds import KINDS, MESSAGES
from notifications.words import WORDS
from payments.models import Payment

ROOT = Path(settings.BASE_DIR)
# (who is called, at which place or under which name the code stands, where its words are)
SPOKEN = (
    ("raise_item", "kind", KINDS),
    ("leave", "kind", MESSAGES),
    ("stick", "note", WORDS),
    ("contradicted", "why", WORDS),
    ("BadSignature", 0, WORDS),
    ("BadContent", 0, WORDS),
    ("Probe", 0, WORDS),
    ("ProviderBadAnswer", 0, WORDS),
    ("place_cut_hold", "reason", WORDS),
)


@pytest.mark.parametrize(("called", "place", "known"), SPOKEN, ids=[f"{one}-{place}" for one, place, _ in SPOKEN])
def test_what_is_written_down_has_words(called, place, known):
    said = {code for path in sources() for code in codes_in(path, called, place)}

    assert said, f"nobody calls {called} any more"
    assert said - known.keys() == set()


def test_what_meters_answer_and_report_has_words():
    assert set(get_args(base.Refusal)) <= WORDS.keys()
    assert set(get_args(base.Happening)) == meters_words.EVENTS.keys()


def test_what_proves_something_about_a_top_up_has_words():
    tree = ast.parse((ROOT / "meters/evidence.py").read_text())
    notes = {
        node.elts[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.elts[1], ast.Constant)
    }

    assert {"number_taken", "count_jumped"} <= notes
    assert {note for note in notes if note} <= WORDS.keys()


def test_why_a_level_is_wanted_and_why_money_is_in_suspense_have_words():
    assert {*(verdict.value for verdict in Verdict), parameters.REASON} == meters_words.LEVEL_REASONS.keys()
    assert {suspicion for suspicion in Payment.Suspicion.values if suspicion} <= WORDS.keys()


def test_what_is_posted_has_words():
    said = {
        code for path in sources() for name in ("post", "top_up", "take_back") for code in codes_in(path, name, "kind")
    }

    assert said - ENTRY_KINDS.keys() == set()


def sources():
    for app in ("accounts", "billing", "meters", "payments", "portal"):
        yield from sorted(path for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts)


def codes_in(path, called, place):
    """The texts that stand at this place of calls of this name (a name that is put together is none)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and called == getattr(node.func, "id", getattr(node.func, "attr", "")):
            at_place = node.args[place : place + 1] if isinstance(place, int) else []
            by_name = [word.value for word in node.keywords if word.arg == place]
            for value in [*at_place, *by_name]:
                yield from (one.value for one in ast.walk(value) if is_code(one))


def is_code(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.replace("_", "").isalpha()
