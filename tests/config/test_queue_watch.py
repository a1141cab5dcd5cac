"""The queue comes back by itself from the two deaths that it does not notice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Task
from django_q.tasks import async_task

from config import queue_watch, schedules
from tests.config.embedded_users import PROJECT, kill, within
from tests.gateways import database_url
from tests.processes import children_of, group_of

pytestmark = [pytest.mark.kill, pytest.mark.django_db(transaction=True)]
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)


@pytest.fixture
def watch() -> Iterator[subprocess.Popen[bytes]]:
    """`manage.py queue_watch`, impatient."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "queue_watch", "--silence-s", "12", "--look-every-s", "0.3"],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": database_url()},
    )
    yield process
    clusters = children_of(process.pid)
    process.terminate()
    assert process.wait(30) == 0
    assert within(5, lambda: not any(group_of(cluster) for cluster in clusters))


def cluster_of(watch: subprocess.Popen[bytes]) -> int:
    """The main process of the cluster, as soon as guard, two workers, monitor and pusher are there."""
    assert within(30, lambda: any(len(group_of(child)) >= 6 for child in children_of(watch.pid)))
    return next(child for child in children_of(watch.pid) if len(group_of(child)) >= 6)


def runs_a_task(seconds: float) -> bool:
    task = async_task("config.schedules.beat")
    return within(seconds, lambda: Task.objects.filter(pk=task, success=True).exists())


def test_a_healthy_queue_runs_tasks_and_is_left_alone(watch):
    assert runs_a_task(60)
    cluster = cluster_of(watch)
    time.sleep(14)  # with nothing to do, for longer than work may wait
    assert runs_a_task(20)

    assert cluster_of(watch) == cluster
    assert set(schedules.SCHEDULES) == set(Schedule.objects.values_list("name", flat=True))
    assert schedules.last_beat() is not None


def test_idle_workers_that_are_killed_do_not_stop_the_queue_for_ever(watch):
    assert runs_a_task(60)
    before = cluster_of(watch)
    (guard,) = [pid for pid in children_of(before) if children_of(pid)]
    first, second, *_monitor_and_pusher = children_of(guard)

    kill(first)
    kill(second)  # one of the two was waiting for work, with the lock of the pipe

    assert runs_a_task(80)
    assert within(10, lambda: not group_of(before))
    assert cluster_of(watch) != before


def test_a_cluster_whose_main_process_is_killed_is_cleared_away_and_started_again(watch):
    assert runs_a_task(60)
    before = cluster_of(watch)

    kill(before)

    assert within(10, lambda: not group_of(before))
    assert runs_a_task(60)


def test_the_cluster_ends_when_its_watch_is_killed():
    watch = subprocess.Popen(
        [sys.executable, "manage.py", "queue_watch"], cwd=PROJECT, env=os.environ | {"DATABASE_URL": database_url()}
    )
    cluster = cluster_of(watch)

    watch.send_signal(signal.SIGKILL)
    watch.wait()

    assert within(15, lambda: not group_of(cluster))


def test_tasks_that_a_dead_cluster_took_are_given_back_at_once():
    now = timezone.now()
    taken = OrmQ.objects.create(key="meterpay", payload="", lock=now + timedelta(minutes=9))
    waiting = OrmQ.objects.create(key="meterpay", payload="", lock=now - timedelta(minutes=1))

    assert queue_watch.give_back(now=now) == 1

    taken.refresh_from_db()
    waiting.refresh_from_db()
    assert taken.lock == now
    assert waiting.lock == now - timedelta(minutes=1)


def test_the_newest_of_beat_and_ended_tasks_is_the_sign_of_life():
    cache.delete(schedules.BEAT)
    assert queue_watch.last_sign() is None

    Task.objects.create(id="1", name="1", func="f", started=NOW, stopped=NOW, success=True)
    assert queue_watch.last_sign() == NOW

    schedules.beat()
    assert queue_watch.last_sign() == schedules.last_beat() > NOW


@pytest.mark.parametrize(
    ("lock_s", "is_old"),
    [
        (-61, True),  # nobody took it
        (-59, False),
        (600 - 61, True),  # taken, and still not done
        (600 - 59, False),
    ],
)
def test_a_task_is_old_whether_or_not_somebody_took_it(lock_s, is_old):
    OrmQ.objects.create(key="meterpay", payload="", lock=NOW + timedelta(seconds=lock_s))

    assert queue_watch.has_waited(timedelta(minutes=1), now=NOW) is is_old


def test_a_healthy_cluster_may_be_silent_for_longer_than_its_longest_task():
    assert queue_watch.silence_allowed() > timedelta(seconds=settings.Q_CLUSTER["timeout"])


def test_a_cluster_that_cannot_start_is_not_started_in_a_spin():
    watch = queue_watch.QueueWatch(command=["false"])
    watch.look(now=NOW)
    first = watch.cluster
    first.wait()

    watch.look(now=NOW + timedelta(seconds=1))
    assert watch.cluster is None

    watch.look(now=NOW + timedelta(seconds=6))
    assert watch.cluster is not None
    watch.stop()


def test_a_watch_that_started_nothing_has_nothing_to_stop():
    queue_watch.QueueWatch(command=["false"]).stop()
