"""The watch over django-q2, from outside of it: what is dead or deaf inside cannot be noticed there.

Two deaths leave a queue that looks alive and runs nothing, or processes that nobody minds (seen with django-q2 1.11):

* SIGKILL of the one idle worker that holds the lock of the queue's pipe: the guard starts another worker, which waits
  for that lock for ever, as all others do;
* SIGKILL of the main process: guard, workers, monitor and pusher go on, holding connections.

So the cluster runs in a process group of its own, is looked at for signs of life, and its group is ended as one.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Max, Q

from config import schedules
from config.embedded.children import die_with_parent, end

log = logging.getLogger(__name__)
CLUSTER = (sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster")
MARGIN_S = 60  # beyond the longest task
BEATS_MISSED = timedelta(minutes=3)  # the beat comes each minute, give or take the half minute of the scheduler
PAUSE = timedelta(seconds=5)  # between two starts, so that what cannot start does not spin
PATIENCE_S = 20.0  # for the tasks that run when we are told to end
SHORT_PATIENCE_S = 2.0


def silence_allowed() -> timedelta:
    """How long a healthy cluster may let work wait: all its workers are in the longest tasks that are let run."""
    return timedelta(seconds=settings.Q_CLUSTER["timeout"] + MARGIN_S)


class QueueWatch:
    """Keeps one cluster running. Call `look` every few seconds, and `stop` in the end, from one thread.

    One watch a database: when it ends a group, it gives back all tasks that are taken.
    """

    def __init__(self, *, silence: timedelta | None = None, command: Sequence[str] = CLUSTER) -> None:
        self.silence = silence or silence_allowed()
        self.command = command
        self.cluster: subprocess.Popen[bytes] | None = None
        self.started_at: datetime | None = None

    def look(self, *, now: datetime) -> None:
        """Starts the cluster when there is none, and starts it again when something is wrong with it."""
        if self.cluster is not None and (wrong := self._what_is_wrong(now)):
            log.error("the queue's cluster is started again: %s", wrong)
            self._end(SHORT_PATIENCE_S)
            give_back(now=now)
        if self.cluster is None and (self.started_at is None or now - self.started_at >= PAUSE):
            self._start(now)

    def stop(self) -> None:
        """Lets the tasks that run end, for a while, and then ends everything."""
        if self.cluster is None:
            return
        self.cluster.send_signal(signal.SIGTERM)  # to the main process alone: its guard would die of it
        try:
            self.cluster.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            log.warning("a task did not end in time; it runs again later")
        self._end(SHORT_PATIENCE_S)

    def _what_is_wrong(self, now: datetime) -> str:
        assert self.cluster is not None and self.started_at is not None  # noqa: S101, PT018 (tells the types)
        if (status := self.cluster.poll()) is not None:
            return f"its main process ended with status {status}"
        silent = now - max(self.started_at, last_sign() or self.started_at)
        if silent > self.silence and has_waited(self.silence, now=now):
            return f"work waits, and no task ended for {silent.total_seconds():.0f} s"
        if silent > max(self.silence, BEATS_MISSED):
            return f"no beat for {silent.total_seconds():.0f} s"
        return ""

    def _start(self, now: datetime) -> None:
        schedules.ensure_schedules()
        self.started_at = now
        self.cluster = subprocess.Popen(  # noqa: S603 - our own command
            self.command,
            # It forks, and a forked pool has its parent's sockets: two processes would read each other's answers.
            env=os.environ | {"DATABASE_POOL_SIZE": "0"},
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, its library loaded before
        )

    def _end(self, patience_s: float) -> None:
        assert self.cluster is not None  # noqa: S101 (tells the type)
        end(self.cluster, patience_s=patience_s)
        self.cluster = None


def last_sign() -> datetime | None:
    """When the cluster last showed that it runs tasks: a beat, or any task that ended."""
    from django_q.models import Task

    signs = [schedules.last_beat(), Task.objects.aggregate(newest=Max("stopped"))["newest"]]
    return max((sign for sign in signs if sign is not None), default=None)


def has_waited(at_least: timedelta, *, now: datetime) -> bool:
    """Whether a task has been waiting, or taken and not done, for so long.

    `lock` is when a task may be taken: from its beginning on, and `retry` after each time that somebody took it. A
    deaf cluster still takes some: they lie in the pipe that nobody reads.
    """
    from django_q.models import OrmQ

    retry = timedelta(seconds=settings.Q_CLUSTER["retry"])
    waiting = Q(lock__lte=now - at_least)
    taken = Q(lock__gt=now, lock__lte=now + retry - at_least)
    return bool(OrmQ.objects.filter(waiting | taken).exists())


def give_back(*, now: datetime) -> int:
    """Lets tasks that a cluster took and cannot do any more be taken at once, and not after `retry`. How many.

    A task that runs elsewhere would run twice: tasks are sweeps over rows, and stand that.
    """
    from django_q.models import OrmQ

    return int(OrmQ.objects.filter(lock__gt=now).update(lock=now))
