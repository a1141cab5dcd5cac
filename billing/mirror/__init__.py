"""Meters that hold their own money: the ledger follows what they count down, day by day.

`account` says what a meter used of the money in it (pure), `sweep` charges it, `explained` lets staff say what went in
or out past our top-ups, `drift` compares the meter's prices with ours.

    sweep.work(now=, limit=500) -> how many days were mirrored      the chaser's round
    sweep.one(installation_id=, now=) -> the same, for one meter
    explained.bought_elsewhere / taken_out / accept(…)              a person explains a balance
    drift.of_month(installation_id=, month_date=) -> Drift

The money in a meter is the ledger's purse:in_meter. What the meter took of it goes to revenue when its day is closed:
what went in up to the purchase count that a reading shows, less the balance that it shows, less what was charged
before. Counts align the two, not clocks. What does not add up is never charged and never given back by itself.
"""
