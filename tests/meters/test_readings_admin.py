"""What a meter told, by time: newest first, a month at most, a page at a time, and one's own meters alone."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from meters import partitions
from meters.models import Meter, Reading
from tests import makers
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db
INSTANT = re.compile(r"<tr><td>([0-9-]+ [0-9:.]+)</td>")


@pytest.fixture
def meter() -> Meter:
    return makers.a_meter(room=makers.a_room())


@pytest.fixture
def manager(meter):
    return at_work(staff_of(meter.property))


def page_of(meter: Meter, **query: object) -> str:
    return reverse("admin:meters_meter_readings", args=[meter.pk], query=query)


def readings(meter: Meter, *, count: int, until, every=timedelta(minutes=15), **more) -> None:
    partitions.make_months(now=until - count * every)
    partitions.make_months(now=until)
    Reading.objects.bulk_create(
        Reading(
            **{
                "meter": meter, "read_at": until - n * every, "property": meter.property, "received_at": until,
                "import_wh": 1_000_000 - n, "relay": "closed",
            }
            | more
        )
        for n in range(count)
    )  # fmt: skip


def test_the_meters_page_leads_to_its_readings(manager, meter):
    assert page_of(meter) in manager.get(address(meter, "change")).content.decode()


def test_a_reading_is_told_with_all_that_it_says(manager, meter):
    at = timezone.localtime().replace(microsecond=250_000)
    readings(meter, count=1, until=at, balance_fen=1234, relay="open", source=Reading.Source.STAFF)

    page = manager.get(page_of(meter)).content.decode()

    for told in (f"{at:%Y-%m-%d %H:%M:%S}.250", "1000.000", "¥12.34", "open", "read by staff"):
        assert f"<td>{told}</td>" in page


def test_pages_follow_one_another_without_a_gap_newest_first(manager, meter):
    now = timezone.localtime().replace(microsecond=0)
    readings(meter, count=450, until=now)

    seen, address = [], page_of(meter)
    while address:
        response = manager.get(address)
        seen += INSTANT.findall(response.content.decode())
        ways = response.context.get("ways") or [("", "")]
        address = ways[0][1] and page_of(meter) + ways[0][1]

    assert seen == [f"{now - n * timedelta(minutes=15):%Y-%m-%d %H:%M:%S}" for n in range(450)]


def test_both_days_are_in_the_span(manager, meter):
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    readings(meter, count=5, until=midnight, every=timedelta(hours=12))
    yesterday = (midnight - timedelta(days=1)).date()

    page = manager.get(page_of(meter, from_date=yesterday, to_date=yesterday)).content.decode()

    assert INSTANT.findall(page) == [f"{yesterday} 12:00:00", f"{yesterday} 00:00:00"]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-01-01", "2026-02-01"),
        ("2026-01-02", "2026-01-01"),
        ("x", "2026-01-01"),
        ("", ""),
        ("9999-12-31", "9999-12-31"),
    ],
)
def test_more_than_a_month_or_no_span_at_all_is_refused_in_the_page(manager, meter, first, last):
    page = manager.get(page_of(meter, from_date=first, to_date=last))

    assert page.status_code == 200
    assert "errorlist" in page.content.decode()
    assert "read at" not in page.content.decode()


@pytest.mark.parametrize("before", ["x", "2026-13-45T00:00:00Z", "2026-01-01T00:00:00", "2999-01-01T00:00:00+08:00"])
def test_a_mark_that_means_nothing_is_passed_over(manager, meter, before):
    readings(meter, count=1, until=timezone.now())
    today = timezone.localdate()

    page = manager.get(page_of(meter, from_date=today - timedelta(days=1), to_date=today, before=before))

    assert len(INSTANT.findall(page.content.decode())) == 1


def test_a_meter_of_another_property_is_answered_like_one_that_does_not_exist(meter):
    stranger = at_work(staff_of(makers.a_property()))
    nobody = at_work(makers.a_user(is_staff=True))

    assert stranger.get(page_of(meter)).status_code == nobody.get(page_of(meter)).status_code == 404
    assert stranger.get(page_of(Meter(pk=10**9))).status_code == 404


def test_the_desk_sees_them_and_a_tenant_does_not(meter):
    assert at_work(staff_of(meter.property, "service")).get(page_of(meter)).status_code == 200
    assert at_work(makers.a_user()).get(page_of(meter)).status_code == 302
