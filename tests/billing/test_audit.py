"""The audit: a sound book passes, and whatever was changed behind the ledger's back is named."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection

from accounts.models import Room
from billing import audit, holds, ledger, prepaid
from billing.audit import Finding
from billing.ledger import Line
from billing.models import JournalEntry, Purse
from meters.models import TopUp
from tests import makers
from tests.billing.books import NOW, bank, take_back, top_up, write

pytestmark = pytest.mark.django_db


@pytest.fixture
def books() -> dict[str, Any]:
    """Three homes: one that the server counts, one whose recharge has landed, one whose recharge is on its way."""
    homes: dict[str, Any] = {}
    for name, held_by in (("served", "server"), ("landed", "meter"), ("sent", "meter")):
        room = makers.a_room()
        makers.a_meter(room=room, held_by=held_by)
        homes[name] = prepaid.purse_of(makers.a_tenancy(room=room))
        top_up(homes[name], 500, key=name)
    TopUp.objects.filter(key="landed").update(state="landed", number=1, landed_at=NOW)
    prepaid.settle(now=NOW)
    take_back(homes["served"], 100, key="refund")
    suspense = ledger.account("suspense", "merchant:wx-1")
    write("suspended", [Line(bank(), suspense, 70)])
    return homes


def findings() -> list[Finding]:
    return list(audit.audit(checks=audit.CHECKS, now=NOW).findings)


def behind_its_back(sql: str, *values: int) -> None:
    """As a person with a database shell and a bad idea would."""
    with connection.cursor() as cursor:
        cursor.execute("set constraints all immediate")
        for table in ("billing_journalentry", "billing_transfer", "billing_purse"):
            cursor.execute(f"alter table {table} disable trigger user")
        cursor.execute(sql, values or None)
        assert cursor.rowcount == 1


def test_a_sound_book_passes_and_says_what_was_looked_at(books) -> None:
    report = audit.audit(checks=audit.CHECKS, now=NOW)

    assert report.findings == ()
    assert report.is_clean()
    assert (report.purses, report.entries, report.transfers) == (3, 6, 8)
    assert report.summary() == "3 purses, 6 entries, 8 transfers: all adds up"


def test_an_empty_book_passes() -> None:
    assert findings() == []


SETTLED = "a settled top-up is where the ledger says"
IN_TRANSIT = "a purse's money in transit is that of its unsettled top-ups"
BALANCES = "a purse's balances are the sum of its transfers"
DIGEST = "an entry's digest is that of its lines"
SENT = "what an entry sent to a meter is a top-up of that amount"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "update billing_purse set paid_fen = paid_fen + 1 where id = {served}",
            {BALANCES: "purse {served}: paid shows 401 fen, its transfers sum to 400"},
        ),
        (
            "update billing_transfer set amount_fen = 499 where entry_id = {entry_served}",
            {
                DIGEST: "entry served: its 1 lines are other ones",
                BALANCES: "purse {served}: paid shows 400 fen, its transfers sum to 399",
            },
        ),
        (
            "delete from billing_transfer where entry_id = {entry_suspended}",
            {DIGEST: "entry suspended: has no transfers"},
        ),
        (
            "update billing_transfer set line = 2 where entry_id = {entry_suspended}",
            {"an entry's lines are numbered from one": "entry suspended: has 1 lines, numbered 2 to 2"},
        ),
        (
            "update billing_journalentry set digest = '' where key = 'refund'",
            {DIGEST: "entry refund: its 1 lines are other ones"},
        ),
        (
            "update billing_ledgeraccount set ref = 'purse:x' where kind = 'paid' and purse_id = {served}",
            {"a purse's account bears its name": "paid purse:x belongs to purse {served}"},
        ),
        (
            "update billing_ledgeraccount set purse_id = {sent} where kind = 'in_meter' and purse_id = {landed}",
            {
                BALANCES: "purse {sent}: in_meter shows 0 fen, its transfers sum to 500",
                "a purse's account bears its name": "in_meter purse:{landed} belongs to purse {sent}",
            },
        ),
        (
            "delete from meters_topup where key = 'sent'",
            {
                SENT: "top-up sent: the ledger sent 500 fen, the top-up carries 0",
                IN_TRANSIT: "purse {sent}: 500 fen in transit, 0 unsettled top-ups carry 0",
            },
        ),
        (
            "update meters_topup set amount_fen = 400 where key = 'sent'",
            {
                SENT: "top-up sent: the ledger sent 500 fen, the top-up carries 400",
                IN_TRANSIT: "purse {sent}: 500 fen in transit, 1 unsettled top-ups carry 400",
            },
        ),
        (
            "update meters_topup set key = 'from nowhere' where key = 'sent'",
            {SENT: "top-up from nowhere: the ledger sent 0 fen, the top-up carries 500"},
        ),
        (
            "update meters_topup set settled_at = now() where key = 'sent'",
            {
                IN_TRANSIT: "purse {sent}: 500 fen in transit, 0 unsettled top-ups carry 0",
                SETTLED: "the ledger has no such entry, the top-up says nowhere 500 fen",
            },
        ),
        (
            "update meters_topup set settled_at = null where key = 'landed'",
            {
                IN_TRANSIT: "purse {landed}: 0 fen in transit, 1 unsettled top-ups carry 500",
                SETTLED: "the ledger has in_meter 500 fen, the top-up says that it is not settled",
            },
        ),
        (
            "update meters_topup set state = 'cancelled' where key = 'landed'",
            {SETTLED: "the ledger has no such entry, the top-up says paid 500 fen"},
        ),
        (
            "update meters_level set wanted = 'open' where kind = 'relay' and wanted = 'closed'",
            {"who has paid wants the power on": "purse {served} has 400 fen, the relay is wanted open (paid)"},
        ),
        (
            "delete from meters_level where kind = 'relay' and wanted = 'closed'",
            {"who has paid wants the power on": "purse {served} has 400 fen, the relay is wanted nowhere"},
        ),
        (
            "update meters_level set wanted = '1' where kind = 'show'",
            {"a meter is told the balance that stands": "purse {served} has 400 fen, the meter is told 1"},
        ),
    ],
)
def test_what_was_changed_behind_the_ledgers_back_is_named(books, sql: str, expected: dict[str, str]) -> None:
    ids = {name: purse.pk for name, purse in books.items()}
    ids |= {f"entry_{entry.key}": entry.pk for entry in JournalEntry.objects.all()}

    behind_its_back(sql.format(**ids))

    said = [str(finding) for finding in findings()]
    for rule, detail in expected.items():
        assert [line for line in said if line.startswith(rule) and detail.format(**ids) in line], said


def test_nothing_is_found_that_was_not_touched(books) -> None:
    behind_its_back("update billing_purse set paid_fen = paid_fen + 1 where id = %s", books["landed"].pk)

    assert findings() == [
        Finding(BALANCES, f"purse {books['landed'].pk}", "paid shows 1 fen, its transfers sum to 0"),
    ]


def test_suspense_that_was_spent_twice_is_named(books) -> None:
    suspense = ledger.account("suspense", "merchant:wx-1")
    write("twice", [Line(suspense, bank(), 100)])

    assert findings() == [
        Finding("suspense is never overdrawn", "suspense merchant:wx-1", "stands at -30 fen"),
    ]


def test_a_home_that_staff_hold_off_is_in_order(books) -> None:
    room = Room.objects.get(tenancies__purse=books["served"])
    holds.hold_room(room=room, position="open", reason="pipe", by=makers.a_user(), until=None, now=NOW)

    assert findings() == []


def test_the_floors_above_bring_checks_of_their_own(books) -> None:
    def theirs(now: datetime) -> Iterator[Finding]:
        yield Finding("a payment is in the ledger", "payment 7", f"no entry at {now:%H:%M}")

    report = audit.audit(checks=[*audit.CHECKS, theirs], now=NOW)

    assert [str(finding) for finding in report.findings] == ["a payment is in the ledger: payment 7: no entry at 04:00"]
    assert report.summary().endswith("1 findings")
    assert json.loads(json.dumps(report.as_json()))["findings"][0]["about"] == "payment 7"


@pytest.mark.django_db(transaction=True)
def test_money_that_moves_while_we_count_is_not_missing() -> None:
    purse = makers.a_purse()

    def meanwhile(now: datetime) -> list[Finding]:
        def write_one() -> None:
            top_up(purse, 500, key="meanwhile")
            connection.close()

        before = Purse.objects.get().paid_fen
        writer = threading.Thread(target=write_one)
        writer.start()
        writer.join()
        assert Purse.objects.get().paid_fen == before
        return []

    report = audit.audit(checks=[meanwhile, *audit.CHECKS], now=NOW)

    assert (report.entries, report.findings) == (0, ())
    assert JournalEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_audit_cannot_change_anything() -> None:
    makers.a_purse()

    with pytest.raises(DatabaseError, match="read-only"):
        audit.audit(checks=[lambda _now: [Finding("x", str(Purse.objects.all().delete()), "")]], now=NOW)


# ---- the command ----


def test_the_command_says_that_all_adds_up(books) -> None:
    out = StringIO()

    call_command("audit", stdout=out)

    assert out.getvalue() == "3 purses, 6 entries, 8 transfers: all adds up\n"


def test_the_command_names_what_does_not_and_fails(books) -> None:
    behind_its_back("update billing_purse set paid_fen = 0 where id = %s", books["served"].pk)
    out = StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("audit", stdout=out)

    assert ended.value.code == 1
    assert f"purse {books['served'].pk}: paid shows 0 fen, its transfers sum to 400\n" in out.getvalue()


def test_the_command_speaks_json_to_programs(books) -> None:
    out = StringIO()
    call_command("audit", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"ok": True, "findings": [], "purses": 3, "entries": 6, "transfers": 8}

    behind_its_back("update billing_purse set paid_fen = 0 where id = %s", books["served"].pk)
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("audit", "--json", stdout=out)

    said = json.loads(out.getvalue())
    assert said["ok"] is False
    assert {"rule": BALANCES, "about": f"purse {books['served'].pk}"}.items() <= said["findings"][0].items()
