"""Tariff definitions as dice make them: valid ones, with everything that a definition may say."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import strategies as st

PERIODS = ("sharp", "peak", "flat", "valley", "deep_valley")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY_TYPES = ("workday", "weekend", "holiday")
FIRST_DATE = date(2027, 11, 1)  # what follows contains a new year and a 29 February

yuan = st.integers(0, 3 * 10**8).map(lambda micro: f"{micro // 10**8}.{micro % 10**8:08d}")
month_day = st.integers(0, 365).map(lambda day: (date(2024, 1, 1) + timedelta(days=day)).strftime("%m-%d"))
dates = st.tuples(month_day, month_day).map(list)
minutes = st.lists(st.integers(1, 95).map(lambda quarter: quarter * 15) | st.integers(1, 1439), unique=True, max_size=5)
special_days = st.dictionaries(
    st.integers(0, 150).map(lambda day: FIRST_DATE + timedelta(days=day)), st.sampled_from(DAY_TYPES), max_size=12
)


def clock(minute):
    return f"{minute // 60:02d}:{minute % 60:02d}"


@st.composite
def days(draw):
    """The hours of a day: cut at some minutes, each piece some period's; written across midnight, or with a rest."""
    cuts = pairwise([0, *sorted(draw(minutes)), 1440])
    pieces = [(first, last, draw(st.sampled_from(PERIODS))) for first, last in cuts]
    if len(pieces) > 2 and pieces[0][2] == pieces[-1][2] and draw(st.booleans()):
        first, last = pieces[0], pieces.pop()
        pieces[0] = (last[0], first[1], first[2])
    hours = {}
    for first, last, period in pieces:
        hours.setdefault(period, []).append(f"{clock(first)}-{clock(last)}")
    rest = draw(st.sampled_from([None, *hours]))
    return hours | ({rest: "rest"} if rest else {})


@st.composite
def season_rules(draw, content):
    """A rule for all the year, perhaps one for a part of it, and perhaps one for a part of that."""
    rules = [draw(content)]
    if draw(st.booleans()):
        months = draw(st.lists(st.integers(1, 12), min_size=2, max_size=11, unique=True))
        rules.append({"when": {"months": months}, **draw(content)})
        if draw(st.booleans()):
            rules.append({"when": {"months": months[:1]}, **draw(content)})
    elif draw(st.booleans()):
        first, last = draw(dates)
        if not full(first, last):
            rules.append({"when": {"dates": [[first, last]]}, **draw(content)})
    return rules


def full(first, last):
    """Whether a range leaves no day out."""
    after = date(2024, *map(int, last.split("-"))) + timedelta(days=1)
    return after.strftime("%m-%d") == first


@st.composite
def schedules(draw):
    day = days().map(lambda hours: {"day": hours})
    rules = draw(season_rules(day))
    if draw(st.booleans()):
        types = draw(st.lists(st.sampled_from(DAY_TYPES), min_size=1, max_size=2, unique=True))
        weekdays = draw(st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=6, unique=True))
        # For each season again, so that no two rules overlap without a third for what they share.
        rules += [narrowed(rule, {"day_types": types}, draw(day)) for rule in rules]
        if draw(st.booleans()):
            rules += [narrowed(rule, {"weekdays": weekdays}, draw(day)) for rule in rules]
    return draw(st.permutations(rules))


def narrowed(rule, more, day):
    """A rule for some days of those of another."""
    return {"when": {**rule.get("when", {}), **more}, **day}


@st.composite
def ladders(draw, tiers):
    limit = st.integers(5, 120)
    steps = st.lists(limit, min_size=tiers - 1, max_size=tiers - 1).map(rising)
    ladder = {
        "cycle": {"months": draw(st.sampled_from([1, 2, 3, 4, 6, 12])), "starts": draw(month_day)},
        "limits": draw(season_rules(steps.map(lambda kwh: {"kwh": kwh}))),
        "restarts_with_tenancy": draw(st.booleans()),
        "prorated": draw(st.booleans()),
    }
    if draw(st.booleans()):
        ladder["cycle"]["season"] = draw(dates)
    if draw(st.booleans()):
        wh = draw(st.lists(limit, min_size=2, max_size=2).map(rising))
        ladder["extension"] = {
            "moves": draw(st.sampled_from(["first", "all"])),
            "steps": [{"people": 3, "kwh_per_month": wh[0]}, {"people": 5, "kwh_per_month": wh[1]}],
        }
    if draw(st.booleans()):
        ladder["counted_from"] = (FIRST_DATE + timedelta(days=draw(st.integers(-300, 100)))).isoformat()
    return ladder


def rising(steps_wh):
    """Limits as text of kWh: small ones, so that a few hundred Wh cross them."""
    totals = [sum(steps_wh[: index + 1]) for index in range(len(steps_wh))]
    return [f"0.{total:03d}" for total in totals]


def prices(periods, tiers):
    by_period = st.fixed_dictionaries(dict.fromkeys(periods, yuan))
    table = st.lists(by_period, min_size=tiers, max_size=tiers).map(lambda rows: {"yuan": rows})
    if tiers == 1:
        return table | by_period.map(lambda row: {"yuan": row})
    surcharges = st.lists(yuan, min_size=tiers - 1, max_size=tiers - 1)
    return table | st.tuples(by_period, surcharges).map(lambda both: {"yuan": both[0], "surcharge_yuan": both[1]})


@st.composite
def definitions(draw):
    definition = {}
    periods = {"flat"}
    if draw(st.booleans()):
        definition["periods"] = draw(schedules())
        periods = {period for rule in definition["periods"] for period in rule["day"]}
    tiers = draw(st.integers(1, 4))
    if tiers > 1:
        definition["tiers"] = draw(ladders(tiers))
    definition["prices"] = draw(season_rules(prices(sorted(periods), tiers)))
    if draw(st.booleans()):
        definition["fee_yuan"] = draw(yuan)
    return definition
