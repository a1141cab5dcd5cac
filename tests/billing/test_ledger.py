"""The ledger: what is written once stays, what balances cannot do otherwise, and nobody else gets in."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.utils import IntegrityError

from billing import ledger
from billing.ledger import LedgerConflict, Line
from billing.models import JournalEntry, LedgerAccount, Purse, Transfer
from tests import makers
from tests.billing.books import NOW, bank, columns, paid_into, summed, write
from tests.racing import race

pytestmark = pytest.mark.django_db


def test_an_entry_moves_money_from_one_account_to_another() -> None:
    purse = makers.a_purse()

    assert write("a", [paid_into(purse, 5000)], property_id=purse.property_id, reason="why", trace="tr") is True

    entry = JournalEntry.objects.get(key="a")
    assert (entry.property_id, entry.reason, entry.trace) == (purse.property_id, "why", "tr")
    assert (entry.happened_at, entry.posted_at) == (NOW, NOW)
    assert columns(purse) == {"paid": 5000, "subsidy": 0, "in_transit": 0, "in_meter": 0}
    assert summed(kind="clearing") == -5000


def test_an_entry_may_touch_several_purses_and_each_of_their_accounts() -> None:
    one, two = makers.a_purse(), makers.a_purse()
    gifts = ledger.account("subsidies", "city")

    write(
        "a",
        [
            paid_into(one, 900),
            Line(ledger.purse_account("paid", one.pk), ledger.purse_account("in_transit", one.pk), 500),
            Line(ledger.purse_account("in_transit", one.pk), ledger.purse_account("in_meter", one.pk), 200),
            Line(ledger.purse_account("paid", one.pk), ledger.purse_account("paid", two.pk), 100),
            Line(gifts, ledger.purse_account("subsidy", two.pk), 70),
        ],
    )

    assert columns(one) == {"paid": 300, "subsidy": 0, "in_transit": 300, "in_meter": 200}
    assert columns(two) == {"paid": 100, "subsidy": 70, "in_transit": 0, "in_meter": 0}


def test_the_same_key_with_the_same_lines_is_an_answer() -> None:
    purse = makers.a_purse()
    write("a", [paid_into(purse, 5000)])

    assert write("a", [paid_into(purse, 5000)]) is False

    assert columns(purse)["paid"] == 5000
    assert Transfer.objects.count() == 1


@pytest.mark.parametrize("other", ["amount", "debit", "credit", "more lines", "other order"])
def test_the_same_key_with_other_lines_is_an_error_and_changes_nothing(other: str) -> None:
    purse = makers.a_purse()
    other_bank = ledger.account("clearing", "merchant:other")
    first, second = paid_into(purse, 5000), Line(other_bank, bank(), 7)
    write("a", [first, second])
    lines = {
        "amount": [first._replace(amount_fen=4999), second],
        "debit": [first._replace(debit=other_bank), second],
        "credit": [first._replace(credit=other_bank), second],
        "more lines": [first, second, second],
        "other order": [second, first],
    }[other]

    with pytest.raises(LedgerConflict, match="entry a stands with other lines"):
        write("a", lines)

    assert columns(purse)["paid"] == 5000  # and the transaction goes on
    assert Transfer.objects.count() == 2


@pytest.mark.parametrize("amount_fen", [0, -1])
def test_a_line_moves_money(amount_fen: int) -> None:
    purse = makers.a_purse()

    with pytest.raises(ValueError, match="each moves money"):
        write("a", [paid_into(purse, 1), paid_into(purse, amount_fen)])

    assert not JournalEntry.objects.exists()


def test_an_entry_has_lines_and_each_has_two_sides() -> None:
    with pytest.raises(ValueError, match="has lines"):
        write("a", [])
    with pytest.raises(ValueError, match="from one account to another"):
        write("a", [Line(bank(), bank(), 1)])


def test_a_subsidy_cannot_be_overdrawn_and_the_entry_is_not_there_either() -> None:
    purse = makers.a_purse()

    with pytest.raises(IntegrityError, match="a_subsidy_cannot_be_overdrawn"), transaction.atomic():
        write("a", [Line(ledger.purse_account("subsidy", purse.pk), bank(), 1)])

    assert not JournalEntry.objects.exists()
    assert columns(purse)["subsidy"] == 0


def test_an_account_is_made_once_and_found_again() -> None:
    purse = makers.a_purse()

    assert ledger.account("clearing", "merchant:x") == ledger.account("clearing", "merchant:x")
    assert ledger.purse_account("paid", purse.pk) == ledger.purse_account("paid", purse.pk)
    assert LedgerAccount.objects.get(kind="paid").ref == f"purse:{purse.pk}"
    assert LedgerAccount.objects.count() == 2


# ---- the guard ----


@pytest.fixture
def written() -> Purse:
    purse = makers.a_purse()
    write("a", [paid_into(purse, 5000)])
    return purse


@pytest.mark.parametrize(
    "sql",
    [
        "update billing_journalentry set reason = 'better'",
        "update billing_transfer set amount_fen = amount_fen + 1",
        "delete from billing_transfer",
        "delete from billing_journalentry",
        """insert into billing_journalentry (key, kind, digest, happened_at, posted_at, trace, reason)
           values ('b', 'x', '', now(), now(), '', '')""",
        """insert into billing_transfer (entry_id, line, debit_id, credit_id, amount_fen)
           select entry_id, 2, credit_id, debit_id, 1 from billing_transfer""",
        "update billing_purse set paid_fen = paid_fen + 1",
        "update billing_purse set subsidy_fen = 1, in_transit_fen = 1",
        "update billing_purse set in_meter_fen = 1",
        """insert into billing_purse (property_id, paid_fen, subsidy_fen, in_transit_fen, in_meter_fen)
           select property_id, 1, 0, 0, 0 from billing_purse""",
    ],
)
def test_nobody_else_writes_money(written: Purse, sql: str) -> None:
    before = _everything()

    with pytest.raises(DatabaseError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)

    assert getattr(refused.value.__cause__, "sqlstate", None) == "MP002"
    assert _everything() == before


def test_a_refused_write_is_not_mistaken_for_a_conflict(written: Purse) -> None:
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), ledger.naming_conflicts():
        JournalEntry.objects.update(reason="better")


def test_after_an_entry_the_door_is_closed_again(written: Purse) -> None:
    """In the very transaction that has just written, after a good entry, an answer and a conflict."""
    write("a", [paid_into(written, 5000)])
    with pytest.raises(LedgerConflict):
        write("a", [paid_into(written, 1)])

    with pytest.raises(DatabaseError, match="only billing_post writes money"), transaction.atomic():
        Purse.objects.filter(pk=written.pk).update(paid_fen=0)


def test_what_is_not_money_of_a_purse_may_change(written: Purse) -> None:
    place = makers.a_property()

    assert Purse.objects.filter(pk=written.pk).update(property=place) == 1


def _everything() -> list[list[tuple[Any, ...]]]:
    return [list(model.objects.order_by("pk").values_list()) for model in (JournalEntry, Transfer, Purse)]


# ---- races ----


@pytest.mark.django_db(transaction=True)
def test_fifty_threads_with_one_key_write_one_entry() -> None:
    purse = makers.a_purse()
    line = paid_into(purse, 5000)

    answers = race([partial(write, "a", [line])] * 50)

    assert sorted(answers) == [False] * 49 + [True]
    assert columns(purse)["paid"] == 5000
    assert (JournalEntry.objects.count(), Transfer.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_one_key_with_different_lines_is_written_once_and_is_a_conflict_to_the_others() -> None:
    purse = makers.a_purse()
    line = paid_into(purse, 1)

    answers = race([partial(write, "a", [line._replace(amount_fen=fen)]) for fen in range(1, 21)])

    assert answers.count(True) == 1
    assert [type(answer) for answer in answers].count(LedgerConflict) == 19
    assert columns(purse)["paid"] == answers.index(True) + 1


@pytest.mark.django_db(transaction=True)
def test_many_keys_on_one_purse_lose_nothing() -> None:
    purse = makers.a_purse()
    line = paid_into(purse, 1)

    answers = race([partial(write, f"k{n}", [line._replace(amount_fen=n)]) for n in range(1, 41)])

    assert answers == [True] * 40
    assert columns(purse)["paid"] == sum(range(1, 41)) == summed(kind="paid")


@pytest.mark.django_db(transaction=True)
def test_entries_across_two_purses_in_either_order_do_not_block_each_other_for_ever() -> None:
    one, two = makers.a_purse(), makers.a_purse()
    there = Line(ledger.purse_account("paid", one.pk), ledger.purse_account("paid", two.pk), 3)
    back = Line(there.credit, there.debit, 2)

    answers = race([partial(write, f"k{n}", [there, back] if n % 2 else [back, there]) for n in range(30)])

    assert answers == [True] * 30
    assert (columns(one)["paid"], columns(two)["paid"]) == (-30, 30)


@pytest.mark.django_db(transaction=True)
def test_a_new_account_named_by_many_at_once_is_one() -> None:
    ids = race([bank] * 20)

    assert len(set(ids)) == 1
    assert LedgerAccount.objects.count() == 1
