"""Staff lay down when power may be cut, serve notices, switch on protection in a storm, and read what was decided."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing import changes, review, supply
from billing.models import Notice, Purse, Review, RoomPolicy, SupplyDecision, SupplyPolicy, WeatherHold
from meters.models import Level
from tests import makers
from tests.desk import address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db

NUMBERS = {
    "warn_fens": "2000, 500",
    "warn_percents": "20,10",
    "warn_days": "3",
    "overdraft_fen": "0",
    "restore_above_fen": "0",
    "emergency_fen": "500",
    "notice_hours": "24",
    "protected_hours": "22:00-08:00, 12:00-14:00",
    "protected_weekdays": "5,6",
    "protects_holidays": "on",
    "cuts_a_day": "1",
    "fresh_for_s": "7200",
    "unreachable_debt_fen": "5000",
    "restore_limit_s": "60",
    "proof_level": "read",
    "price_notice_days": "14",
    "silent_hours": "12",
}
WORDS = {"legal_basis": "lease § 7", "notice": "7 days"}


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


@pytest.fixture
def room(place):
    return makers.a_room(place=place)


@pytest.fixture
def manager(place):
    return at_work(staff_of(place))


@pytest.fixture
def clerk(place):
    return at_work(staff_of(place, "service"))


class TestPolicy:
    def test_it_keeps_who_recorded_it_and_when_and_every_column(self, manager, place):
        manager.post(address(SupplyPolicy, "add"), {"property": place.pk} | WORDS | NUMBERS)

        policy = SupplyPolicy.objects.get()
        assert policy.recorded_by is not None
        assert policy.recorded_by.name == "manager of Hereyard"
        assert timezone.now() - policy.recorded_at < timedelta(minutes=1)
        assert (policy.warn_fens, policy.protected_weekdays, policy.emergency_fen) == ([2000, 500], [5, 6], 500)
        assert policy.protected_hours == [["22:00", "08:00"], ["12:00", "14:00"]]
        assert (policy.proof_level, policy.price_notice_days, policy.silent_hours) == ("read", 14, 12)

    def test_the_form_shows_hours_as_people_write_them(self, manager, place):
        policy = makers.a_policy(place, protected_hours=[["22:00", "08:00"]])

        page = manager.get(address(policy, "change"))

        assert 'value="22:00-08:00"' in page.content.decode()

    @pytest.mark.parametrize("hours", ["22-8", "25:00-08:00", "22:00", "night"])
    def test_hours_that_are_none_are_refused(self, manager, place, hours):
        answers = {"property": place.pk} | WORDS | NUMBERS | {"protected_hours": hours}

        page = manager.post(address(SupplyPolicy, "add"), answers)

        assert "protected_hours" in page.context["adminform"].form.errors
        assert not SupplyPolicy.objects.exists()

    def test_without_a_basis_it_is_refused(self, manager, place):
        manager.post(address(SupplyPolicy, "add"), {"property": place.pk} | WORDS | NUMBERS | {"legal_basis": ""})

        assert not SupplyPolicy.objects.exists()

    def test_the_desk_records_none(self, clerk):
        assert clerk.get(address(SupplyPolicy, "add")).status_code == 403


class TestRoomPolicy:
    def test_what_is_left_blank_is_the_propertys(self, manager, room):
        makers.a_policy(room.property, warn_fens=[700], protected_hours=[["22:00", "08:00"]])

        manager.post(
            address(RoomPolicy, "add"),
            {"room": room.pk, "is_protected": "on", "protected_reason": "ventilator", "protects_holidays": "unknown"},
        )

        policy = RoomPolicy.objects.get()
        assert (policy.property, policy.is_protected, policy.warn_fens, policy.protected_hours) == (
            room.property,
            True,
            None,
            None,
        )
        assert policy.changed_by is not None

    def test_a_protected_room_needs_its_reason(self, manager, room):
        manager.post(
            address(RoomPolicy, "add"), {"room": room.pk, "is_protected": "on", "protects_holidays": "unknown"}
        )

        assert not RoomPolicy.objects.exists()

    def test_who_lives_there_is_decided_about_anew(self, manager, room):
        now = timezone.now()
        makers.a_meter(room=room)
        purse = makers.a_cut_ready_home(room, overdraft_fen=0)
        assert supply.decide(purse_id=purse.pk, trace="", now=now - timedelta(minutes=1)) == supply.Verdict.SPENT

        answers = {"room": room.pk, "overdraft_fen": "1000", "protects_holidays": "unknown"}
        manager.post(address(RoomPolicy, "add"), answers)
        changes.catch_up(now=timezone.now())

        purse.refresh_from_db()
        assert purse.limit_fen == 1000


class TestWeather:
    def test_the_desk_switches_it_on_and_off_and_nobody_is_cut_meanwhile(self, clerk, place, room):
        makers.a_meter(room=room)
        purse = makers.a_cut_ready_home(room)

        page = clerk.post(address(WeatherHold, "add"), {"property": place.pk, "reason": "typhoon"}, follow=True)

        assert told(page) == "Nobody of Hereyard is cut while it stands."
        hold = WeatherHold.objects.get()
        assert (hold.placed_by.name, hold.until_at) == ("service of Hereyard", None)
        assert supply.decide(purse_id=purse.pk, trace="", now=timezone.now()) == supply.Verdict.SPARED
        do(clerk, "end", [hold], reason="it has passed")
        assert supply.decide(purse_id=purse.pk, trace="", now=timezone.now()) == supply.Verdict.SPENT

    def test_it_is_not_switched_off_twice(self, clerk, place):
        now = timezone.now()
        hold = WeatherHold.objects.create(
            property=place, reason="r", from_at=now - timedelta(hours=2), until_at=now - timedelta(hours=1),
            placed_at=now, placed_by=makers.a_user(),
        )  # fmt: skip

        assert "over before" in told(do(clerk, "end", [hold], reason="again"))

    @pytest.mark.parametrize("answers", [{"reason": " "}, {"reason": "storm", "until": "2026-01-01T00:00"}])
    def test_without_a_reason_or_too_late_it_is_refused(self, clerk, place, answers):
        clerk.post(address(WeatherHold, "add"), {"property": place.pk} | answers)

        assert not WeatherHold.objects.exists()

    def test_nobody_switches_it_on_for_others(self, clerk):
        other = makers.a_property()

        clerk.post(address(WeatherHold, "add"), {"property": other.pk, "reason": "storm"})

        assert not WeatherHold.objects.exists()


class TestNotices:
    @pytest.fixture
    def notice(self, room):
        makers.a_meter(room=room)
        purse = makers.a_cut_ready_home(room)
        Notice.objects.filter(purse=purse).delete()
        review.one(purse_id=purse.pk, trace="", now=timezone.now() - timedelta(hours=1))
        return Notice.objects.get()

    def test_the_desk_records_that_it_was_served(self, clerk, notice):
        at = timezone.localtime() - timedelta(minutes=30)

        do(clerk, "served", [notice], at=f"{at:%Y-%m-%dT%H:%M}", reason="signed, folder 12")

        notice.refresh_from_db()
        assert (notice.state, notice.proven_by.name, notice.proof) == (
            "proven",
            "service of Hereyard",
            "signed, folder 12",
        )
        assert notice.runs_until == notice.proven_at + timedelta(hours=24)
        assert Review.objects.filter(purse=notice.purse).exists()

    def test_not_before_it_was_left(self, clerk, notice):
        at = timezone.localtime() - timedelta(days=1)

        page = do(clerk, "served", [notice], at=f"{at:%Y-%m-%dT%H:%M}", reason="signed")

        assert "It was served between" in told(page)
        notice.refresh_from_db()
        assert notice.state == "left"

    def test_finance_serves_none(self, place, notice):
        do(at_work(staff_of(place, "finance")), "served", [notice], at="2026-11-23T10:00", reason="signed")

        notice.refresh_from_db()
        assert notice.state == "left"


def test_a_decision_says_in_words_why_nobody_was_cut(manager, room):
    makers.a_meter(room=room)
    purse = makers.a_cut_ready_home(room)
    Notice.objects.filter(purse=purse).update(runs_until=timezone.now() + timedelta(hours=3))
    supply.decide(purse_id=purse.pk, trace="t", now=timezone.now())

    page = manager.get(address(SupplyDecision, "changelist")).content.decode()

    assert "the period of the notice is running, until " in page
    assert Level.objects.get(kind="relay").wanted == "closed"
    assert Purse.objects.get(pk=purse.pk).needs_review
