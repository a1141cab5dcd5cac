"""Receipts are numbered one by one at each property, whoever takes money at the same moment, and none is left out."""

from __future__ import annotations

import pytest
from django.utils import timezone

from billing import prepaid
from billing.audit import audit
from billing.models import JournalEntry
from payments import counter
from payments.audit import receipts
from payments.models import CounterReceipt, Means, ReceiptNumbers
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clerk():
    return makers.a_user(is_staff=True)


@pytest.fixture
def garden():
    return makers.a_property(code="garden")


def a_purse_at(place):
    return prepaid.purse_of(makers.a_tenancy(room=makers.a_room(place=place)))


def take(purse, clerk, form_key, **kwargs):
    answers = {"amount_fen": 5000, "meter": None, "note": "", "trace": "t", "now": timezone.now()} | kwargs
    return counter.take_money(purse=purse, by=clerk, form_key=form_key, **answers)


def numbers_of(place):
    return list(CounterReceipt.objects.filter(property=place).order_by("number").values_list("number", flat=True))


def test_each_property_counts_its_own(garden, clerk):
    yard = makers.a_property(code="yard-2")
    for place, form_key in ((garden, "a"), (yard, "b"), (garden, "c")):
        take(a_purse_at(place), clerk, form_key)

    assert numbers_of(garden) == ["garden-000001", "garden-000002"]
    assert numbers_of(yard) == ["yard-2-000001"]


def test_thirty_clerks_at_once_leave_no_gap_and_no_double(garden, clerk):
    purses = [a_purse_at(garden) for _each in range(5)]

    race([lambda n=n: take(purses[n % 5], clerk, f"form-{n}") for n in range(30)])

    assert numbers_of(garden) == [f"garden-{n:06d}" for n in range(1, 31)]
    assert audit(checks=(receipts,), now=timezone.now()).is_clean()


def test_forms_sent_twice_at_once_use_one_number_each(garden, clerk):
    purse = a_purse_at(garden)

    race([lambda n=n: take(purse, clerk, f"form-{n % 10}") for n in range(30)])

    assert len(numbers_of(garden)) == ReceiptNumbers.objects.get(property=garden).last == 10
    purse.refresh_from_db()
    assert purse.paid_fen == 10 * 5000


def test_what_could_not_be_taken_leaves_no_gap(garden, clerk):
    purse = a_purse_at(garden)
    take(purse, clerk, "first")

    given = race(
        [lambda n=n: take(purse, clerk, f"form-{n}", amount_fen=2**31 if n % 2 else 100) for n in range(12)]
    )  # every other one is more than a column holds

    assert sum(isinstance(one, Exception) for one in given) == 6
    assert numbers_of(garden) == [f"garden-{n:06d}" for n in range(1, 8)]


def test_a_form_again_with_another_means_is_refused(garden, clerk):
    purse = a_purse_at(garden)
    take(purse, clerk, "form")

    with pytest.raises(counter.CounterRefused):
        take(purse, clerk, "form", means=Means.CARD)

    assert numbers_of(garden) == ["garden-000001"]


def test_a_form_that_was_sent_at_another_property_is_refused_and_uses_no_number(garden, clerk):
    take(a_purse_at(garden), clerk, "form")
    yard = makers.a_property(code="yard")

    with pytest.raises(counter.CounterRefused):
        take(a_purse_at(yard), clerk, "form")

    assert not ReceiptNumbers.objects.filter(property=yard).exists()


@pytest.mark.parametrize("means", list(Means))
def test_a_correction_gives_back_to_where_it_was_taken_into(garden, clerk, means):
    receipt = take(a_purse_at(garden), clerk, "form", means=means)

    counter.correct(receipt_id=receipt.pk, by=clerk, reason="typo", now=timezone.now())

    entries = [entry.transfers.get() for entry in receipt_entries(receipt)]
    assert entries[0].debit == entries[1].credit
    assert (entries[0].debit.kind == "cash") == (means == Means.CASH)


def receipt_entries(receipt):
    return JournalEntry.objects.filter(key__startswith=f"counter:{receipt.pk}").order_by("pk")
