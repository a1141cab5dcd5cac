"""What people do to homes: moving in and out, replacing a meter, correcting a reading, disputing one."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from billing.models.purses import Purse
from billing.models.usage import Draw


class Operation(models.Model):
    """One operation of staff on a home, with the registers that it was done at. Append-only: a trigger refuses more.

    `registers`: [{"meter": serial, "import_wh": Wh, "balance_fen": fen or absent, "role": "before"|"after"}].
    """

    class Kind(models.TextChoices):
        MOVE_IN = "move_in", _("moved in")
        MOVE_OUT = "move_out", _("moved out")
        REPLACE_METER = "replace_meter", _("meter replaced")
        CHANGE_ROOM = "change_room", _("room changed")
        CORRECT_READING = "correct_reading", _("reading corrected")

    key = models.CharField(_("key"), max_length=96, unique=True)  # of the form that was sent: sent twice, done once
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    room = models.ForeignKey("accounts.Room", models.PROTECT, related_name="operations", verbose_name=_("room"))
    to_room = models.ForeignKey(
        "accounts.Room", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("to room")
    )
    tenancy = models.ForeignKey(
        "accounts.Tenancy", models.PROTECT, null=True, blank=True, related_name="operations", verbose_name=_("tenancy")
    )
    installation = models.ForeignKey(
        "meters.Installation",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="operations",
        verbose_name=_("installation"),
    )
    happened_at = models.DateTimeField(_("happened"))
    done_at = models.DateTimeField(_("done"))
    done_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("done by"))
    reason = models.CharField(_("reason"), max_length=255)
    registers = models.JSONField(_("registers"), default=list)
    outcome = models.JSONField(_("outcome"), default=dict)
    trace = models.CharField(_("trace"), max_length=36, blank=True, default="")

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(reason=""), name="an_operation_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.room} {self.happened_at:%Y-%m-%d}"


class Dispute(models.Model):
    """A tenant says that a reading is wrong: what follows from it is frozen until staff decide.

    Its consequence is the two intervals that touch the reading; the days from `from_date` to `to_date` (the last one in
    it) are not posted while it stands, and `frozen_nano` of their cost cuts nobody. While no reading follows, `to_date`
    lies beyond all days.
    """

    class State(models.TextChoices):
        OPEN = "open", _("open")
        UPHELD = "upheld", _("upheld")  # the tenant is right
        DISMISSED = "dismissed", _("dismissed")  # the reading is right
        WITHDRAWN = "withdrawn", _("withdrawn")

    key = models.CharField(_("key"), max_length=96, unique=True)  # of the request: sent twice, opened once
    property = models.ForeignKey("accounts.Property", models.PROTECT, related_name="+", verbose_name=_("property"))
    tenancy = models.ForeignKey("accounts.Tenancy", models.PROTECT, related_name="disputes", verbose_name=_("tenancy"))
    purse = models.ForeignKey(Purse, models.PROTECT, db_index=False, related_name="disputes", verbose_name=_("purse"))
    draw = models.ForeignKey(Draw, models.PROTECT, related_name="disputes", verbose_name=_("usage"))
    read_at = models.DateTimeField(_("read at"))
    import_wh = models.BigIntegerField(_("register, Wh"))
    from_date = models.DateField(_("from"))
    to_date = models.DateField(_("to"))
    frozen_nano = models.BigIntegerField(default=0)
    reason = models.TextField(_("reason"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.OPEN)
    opened_at = models.DateTimeField(_("opened"))
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", verbose_name=_("opened by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    note = models.CharField(_("note"), max_length=255, blank=True, default="")

    class Meta:
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["purse"], condition=Q(state="open"), name="a_purse_has_one_open_dispute"),
            models.CheckConstraint(
                condition=~Q(state__in=["upheld", "dismissed"]) | ~Q(note=""), name="a_decided_dispute_says_why"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["draw"], condition=Q(state="open"), name="disputes_that_freeze"),
        ]

    def __str__(self) -> str:
        return f"{self.tenancy.room} {timezone.localtime(self.read_at):%Y-%m-%d %H:%M}"
