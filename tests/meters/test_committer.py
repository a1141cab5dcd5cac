"""Between the network and the database: batches of what has gathered, acknowledged in order, poison found by halves."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest
from django.db import connection

from meters.committer import BATCH_AT_MOST, Arrival, Committer
from meters.intake import Frame
from meters.models import Meter, Reading
from notifications.models import WorkItem
from tests.gateways import wait_until
from tests.makers import a_meter
from tests.meters.saying import a_report, telemetry

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 11, 1, 4, tzinfo=UTC)


def acknowledged(frames: Iterable[Frame]) -> list[list[int]]:
    """Puts all of them before the committer begins; the numbers of the frames, as they were acknowledged."""
    batches: list[list[int]] = []
    stopped = threading.Event()
    committer = Committer(
        acknowledge=lambda batch: batches.append([arrival.mid for arrival in batch]),
        after=lambda _taken: None,
        stopped=stopped,
    )
    number = -1
    for number, frame in enumerate(frames):
        committer.put(Arrival(frame, number, 0))

    def run() -> None:
        try:
            committer.run()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: sum(map(len, batches)) == number + 1, within_s=60)
    finally:
        stopped.set()
        thread.join(10)
    return batches


@pytest.fixture
def cursed() -> Iterator[Meter]:
    """The database itself refuses this meter's readings."""
    meter = a_meter()
    with connection.cursor() as cursor:
        cursor.execute(
            "alter table meters_reading add constraint no_curse check (meter_id <> %s) not valid", [meter.pk]
        )
    yield meter
    with connection.cursor() as cursor:
        cursor.execute("alter table meters_reading drop constraint no_curse")


def test_what_has_gathered_is_one_batch_up_to_a_limit():
    nonsense = [Frame("m/?/x", b"{", NOW)] * (BATCH_AT_MOST + 2)

    assert [len(batch) for batch in acknowledged(nonsense)] == [BATCH_AT_MOST, 2]


def test_a_batch_of_large_messages_is_limited_by_its_bytes():
    large = [Frame("m/?/x", b"x" * 2**20, NOW)] * 6

    assert acknowledged(large) == [[0, 1, 2, 3], [4, 5]]


@pytest.mark.parametrize("where", [0, 37, 63])
def test_one_poisoned_message_is_found_by_halves_and_all_are_acknowledged_in_order(cursed, where):
    meters = [a_meter() for _ in range(64)]
    meters[where] = cursed
    frames = [telemetry(meter, a_report(NOW), received_at=NOW) for meter in meters]

    batches = acknowledged(frames)

    assert [number for batch in batches for number in batch] == list(range(64))
    assert len(batches) <= 7
    assert Reading.objects.count() == 63
    assert WorkItem.objects.get().key == f"bad_frame:m/{cursed.property.code}/{cursed.serial}/up"
