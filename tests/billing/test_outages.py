"""What a fair cut needs is known to be down: noted once while it stands, and off the work list when it is back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from billing import outages
from billing.models import Outage
from meters.models import Meter
from notifications.models import WorkItem
from payments import health
from payments.models import Attempt, MerchantProperty
from tests import makers
from tests.racing import race

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _nobody_is_missed() -> None:
    cache.delete_many([outages.GATEWAY, outages.MISSED])


def standing() -> list[tuple[str, str]]:
    return list(Outage.objects.filter(ended_at=None).order_by("pk").values_list("kind", "ref"))


def note(*, is_down: bool, now: datetime = NOW) -> bool:
    return outages.note(kind="broker", ref="gateways", property_id=None, is_down=is_down, detail="away", now=now)


def test_it_stands_once_and_ends():
    assert note(is_down=True)
    assert not note(is_down=True, now=NOW + MINUTE)

    (row,) = Outage.objects.all()
    assert (row.began_at, row.seen_at, row.ended_at) == (NOW, NOW + MINUTE, None)
    assert WorkItem.objects.get().state == "open"
    assert note(is_down=False, now=NOW + 2 * MINUTE)
    assert not note(is_down=False, now=NOW + 3 * MINUTE)
    row.refresh_from_db()
    assert row.ended_at == NOW + 2 * MINUTE
    assert WorkItem.objects.get().state != "open"
    assert note(is_down=True, now=NOW + 4 * MINUTE)
    assert Outage.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_several_who_note_it_at_once_note_it_once():
    race([lambda: note(is_down=True)] * 6)

    assert Outage.objects.count() == 1


class TestBroker:
    def test_a_gateway_that_is_connected_is_no_outage(self):
        outages.gateway_is_connected(now=timezone.now())
        outages.look(now=NOW)
        assert standing() == []

    def test_none_that_is_connected_is_one_until_it_comes_back(self):
        outages.gateway_is_connected(now=timezone.now() - 2 * MINUTE)
        outages.look(now=NOW)
        assert standing() == []  # it may only come after us
        cache.set(outages.MISSED, (timezone.now() - 2 * MINUTE).isoformat(), timeout=None)
        outages.look(now=NOW)
        assert standing() == [("broker", "gateways")]

        outages.gateway_is_connected(now=timezone.now())
        outages.look(now=NOW + MINUTE)
        assert standing() == []

    def test_none_ever_is_one(self):
        cache.delete(outages.GATEWAY)
        cache.set(outages.MISSED, (timezone.now() - 2 * MINUTE).isoformat(), timeout=None)
        outages.look(now=NOW)
        assert standing() == [("broker", "gateways")]


class TestTelemetry:
    @pytest.fixture
    def meters(self) -> list[Meter]:
        outages.gateway_is_connected(now=timezone.now())
        place = makers.a_property()
        return [
            makers.a_meter(room=makers.a_room(place=place), last_seen_at=NOW - MINUTE, is_online=True) for _ in range(5)
        ]

    def silence(self, meters: list[Meter], hours: int = 3) -> None:
        Meter.objects.filter(pk__in=[meter.pk for meter in meters]).update(last_seen_at=NOW - timedelta(hours=hours))

    def test_one_silent_meter_is_its_own_trouble(self, meters):
        self.silence(meters[:1])
        assert outages.look_at_telemetry(now=NOW) == 0

    def test_many_that_fall_silent_together_are_an_outage_of_their_property_until_they_speak(self, meters):
        self.silence(meters[:2])
        assert outages.look_at_telemetry(now=NOW) == 1
        (row,) = Outage.objects.all()
        assert row.property_id == meters[0].property_id

        self.silence(meters, hours=30)
        outages.look_at_telemetry(now=NOW)
        assert standing()

        Meter.objects.update(last_seen_at=NOW)
        outages.look_at_telemetry(now=NOW)
        assert standing() == []


class TestProvider:
    @pytest.fixture
    def attempts(self) -> list[Attempt]:
        merchant = makers.a_merchant(place=makers.a_property())
        made = [makers.an_attempt(order=makers.an_order(), merchant=merchant) for _ in range(3)]
        Attempt.objects.update(
            state="ready", asked_at=NOW - MINUTE, next_ask_at=NOW + MINUTE, last_error="unsure: timeout"
        )
        return made

    def test_no_answer_to_several_questions_is_an_outage_where_the_merchant_takes_money(self, attempts):
        assert health.look(now=NOW) == 1
        served = MerchantProperty.objects.get(merchant=attempts[0].merchant)
        assert [row.property_id for row in Outage.objects.all()] == [served.property_id]
        assert health.look(now=NOW + MINUTE) == 1
        assert Outage.objects.count() == 1

    def test_one_answer_ends_it(self, attempts):
        health.look(now=NOW)
        Attempt.objects.filter(pk=attempts[0].pk).update(last_error="")
        assert health.look(now=NOW + MINUTE) == 0
        assert standing() == []

    def test_one_question_without_an_answer_is_none(self, attempts):
        Attempt.objects.filter(pk__in=[one.pk for one in attempts[1:]]).delete()
        assert health.look(now=NOW) == 0

    def test_when_nobody_is_asked_any_more_it_ends(self, attempts):
        health.look(now=NOW)
        Attempt.objects.update(next_ask_at=None, state="closed")
        health.look(now=NOW + MINUTE)
        assert standing()
        health.look(now=NOW + 7 * MINUTE)
        assert standing() == []
