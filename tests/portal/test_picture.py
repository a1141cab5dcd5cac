"""Pictures that say in heights, hatching and words what they say in colour, and obey the strictest content policy."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from django.utils import translation

from accounts.models import Member
from billing.models import Draw, PriceSlot
from billing.tariff.civil import instant
from portal import picture, usage
from portal.prices import Slot
from portal.usage import Part, Sum
from tests import makers
from tests.billing.rating import world
from tests.billing.rating.world import HOUR, START

SVG = "{http://www.w3.org/2000/svg}"
DAY = (("valley", 0, 8.5, 29), ("peak", 8.5, 18, 60), ("sharp", 18, 22, 90), ("valley", 22, 24, 29))


@pytest.fixture(autouse=True)
def _english():
    with translation.override("en"):
        yield


def slots(day=DAY) -> list[Slot]:
    return [
        Slot(START + from_h * HOUR, START + to_h * HOUR, period, [fen * 1_000_000 - 2_000_000], [], 2_000_000)
        for period, from_h, to_h, fen in day
    ]


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 (we have drawn it)


def bars(svg: str) -> list[ET.Element]:
    return [one for one in drawn(svg).iter(f"{SVG}rect") if one.get("class") != "ground"]


def number(one: ET.Element, name: str) -> float:
    return float(one.get(name, "nan"))


class TestADay:
    def test_has_a_bar_for_each_period_as_wide_as_it_lasts_and_as_high_as_it_costs(self):
        found = bars(picture.of_a_day(slots(), now=START))

        assert [one.get("class") for one in found] == ["valley", "peak", "sharp", "valley"]
        assert [number(one, "width") for one in found] == pytest.approx([127.5, 142.5, 60, 30], abs=0.1)
        heights = [number(one, "height") for one in found]
        assert [height / heights[2] for height in heights] == pytest.approx([29 / 90, 60 / 90, 1, 29 / 90], abs=0.01)
        assert all(number(one, "y") + number(one, "height") == pytest.approx(120, abs=0.1) for one in found)

    def test_says_the_same_in_words(self):
        svg = drawn(picture.of_a_day(slots(), now=START))

        said = svg.findtext(f"{SVG}desc") or ""
        assert said.split("; ")[0] == "00:00–08:30 valley 0.29 yuan per kWh"
        assert said.endswith("22:00–24:00 valley 0.29 yuan per kWh")
        assert (svg.get("role"), svg.get("aria-label")) == ("img", "Price of a kilowatt-hour over today")
        words = [one.text for one in svg.iter(f"{SVG}text")]
        assert words[:4] == ["valley", "¥0.29", "peak", "¥0.60"]

    def test_has_a_line_where_the_day_is_now(self):
        line = next(one for one in drawn(picture.of_a_day(slots(), now=START + 12 * HOUR)).iter(f"{SVG}line"))

        assert (line.get("class"), number(line, "x1")) == ("now", 180.0)
        yesterday = picture.of_a_day(slots(), now=START - HOUR)
        assert 'class="now"' not in yesterday

    def test_hatches_each_period_in_its_own_way(self):
        day = tuple((period, 4 * n, 4 * n + 4, 50) for n, period in enumerate(picture.HATCHING))

        svg = drawn(picture.of_a_day(slots(day), now=START))

        lines = [one.get("d", "") for one in svg.iter(f"{SVG}path")]
        ways = [(text.count("h"), text.count("v")) for text in lines]
        assert len(set(ways)) == len(ways) == 4  # the flat one has none

    def test_with_a_price_of_nothing_is_drawn_all_the_same(self):
        found = bars(picture.of_a_day(slots((("flat", 0, 24, 0),)), now=START))

        assert number(found[0], "height") == 4

    def test_without_prices_is_nothing_on_a_page_and_a_word_by_itself(self):
        assert picture.of_a_day([], now=START) == ""
        assert "No price is known here yet." in picture.of_no_day()


class TestUse:
    def label(self, one: Sum) -> str:
        return f"{one.from_at.hour:02d}:00 <&>"

    def sums(self) -> list[Sum]:
        found = [Sum(START + n * HOUR, START + n * HOUR + HOUR, energy_wh=1000 * n) for n in range(3)]
        found[2].part_wh.update({Part("valley", 1): 500, Part("peak", 1): 1200, Part("peak", 2): 300})
        found[1].period, found[1].is_cheap = "valley", True
        return found

    def test_is_stacked_by_period_the_cheapest_at_the_bottom(self):
        found = bars(picture.of_use(self.sums(), label=self.label))

        assert [one.get("class") for one in found] == ["flat", "valley", "valley", "peak"]
        valley, peak = found[2:]
        assert number(peak, "height") == pytest.approx(3 * number(valley, "height"), abs=0.2)
        assert number(peak, "y") + number(peak, "height") == pytest.approx(number(valley, "y"), abs=0.2)

    def test_marks_the_cheap_hours_and_says_so(self):
        svg = picture.of_use(self.sums(), label=self.label)

        assert svg.count('class="cheap"') == 1
        titles = [one.findtext(f"{SVG}title") for one in bars(svg)]
        assert titles[1] == "01:00 <&> valley 1.0 kWh · lowest price of the day"

    def test_says_how_much_it_was_in_all_and_when_most(self):
        said = drawn(picture.of_use(self.sums(), label=self.label)).findtext(f"{SVG}desc")

        assert said == "3.0 kWh in all; most: 02:00 <&> with 2.0 kWh"

    def test_of_nothing_is_nothing(self):
        assert picture.of_use([], label=self.label) == ""
        assert picture.of_use([Sum(START, START + HOUR)], label=self.label) == ""

    @pytest.mark.parametrize("count", [1, 24, 31, 168])
    def test_stays_within_the_picture_and_small(self, count):
        found = [Sum(START + n * HOUR, START + n * HOUR, energy_wh=900, period="sharp") for n in range(count)]

        svg = picture.of_use(found, label=self.label)

        assert all(0 <= number(one, "x") < picture.WIDTH for one in bars(svg))
        assert all(number(one, "x") + number(one, "width") <= picture.WIDTH for one in bars(svg))
        assert len(svg) < 100_000


@pytest.mark.parametrize("word", ["<style", "style=", "<script", "href", " onl", " onc", "<![CDATA"])
def test_nothing_in_a_picture_needs_leave_of_the_content_policy(word):
    both = picture.of_a_day(slots(), now=START) + picture.of_use(TestUse().sums(), label=TestUse().label)

    assert word not in both


@pytest.mark.django_db
class TestTheAnswer:
    @pytest.fixture
    def draw(self, monkeypatch) -> Draw:
        draw = world.a_draw(world.a_version(world.PERIODS_AND_TIERS))
        assert draw.tenancy
        Member.objects.create(tenancy=draw.tenancy, user=makers.a_user(), role="holder", joined_at=START)
        monkeypatch.setattr("portal.picture_api.timezone.now", lambda: START + 12 * HOUR)
        return draw

    def get(self, client, draw, **headers):
        login = makers.a_login(draw.tenancy.members.get().user)
        return client.get(f"/api/v1/homes/{draw.tenancy_id}/prices/today.svg", headers=login | headers)

    @pytest.mark.parametrize("accept", ["image/svg+xml", "image/*", "*/*"])
    def test_is_todays_picture(self, client, draw, accept):
        answer = self.get(client, draw, Accept=accept)

        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/svg+xml; charset=utf-8")
        assert [one.get("class") for one in bars(answer.content.decode())] == ["valley", "peak", "valley"]
        assert answer.headers["Cache-Control"] == "private, max-age=300"

    def test_says_so_where_no_price_is_known(self, client, draw):
        PriceSlot.objects.all().delete()

        answer = self.get(client, draw, **{"Accept-Language": "en"})

        assert "No price is known here yet." in answer.content.decode()

    def test_is_a_problem_to_others(self, client, draw):
        path = f"/api/v1/homes/{draw.tenancy_id}/prices/today.svg"

        answer = client.get(path, headers=makers.a_login(makers.a_user()) | {"Accept": "image/svg+xml"})

        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
        assert answer.json()["code"] == "not_found"

    def test_use_is_drawn_with_its_cheap_hours(self, draw):
        world.tell([(draw.meter, START + h * HOUR, 100_000 + 500 * h) for h in (6, 12, 24)])
        on = date(2026, 11, 10)

        found = usage.sums(
            tenancy=draw.tenancy, by="hour", from_date=on, to_date=on, now=instant(on) + timedelta(hours=36)
        )

        svg = picture.of_use(found, label=lambda one: f"{one.from_at:%H:%M}")
        assert svg.count('class="cheap"') == sum(one.is_cheap for one in found) > 8
        assert isinstance(found[0].from_at, datetime)
