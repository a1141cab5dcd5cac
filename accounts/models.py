"""People, the places they live in, and who may see what.

Nothing here knows of money or meters. Rows are kept for as long as money hangs on them, so places and tenancies
are protected, never cascaded.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.utils.timezone import localtime
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.masks import masked

PHONE = RegexValidator(r"^1[3-9]\d{9}$", _("Enter a mainland mobile number of 11 digits."))
SERVICE_PHONE = RegexValidator(r"^[0-9-]{3,20}$", _("Enter a phone number of digits and hyphens."))
CODE = RegexValidator(r"^[a-z0-9-]{1,32}$", _("Use lower-case letters, digits and hyphens, at most 32."))


class Span(models.Func):
    """From an instant to the first that is no longer in it; open where there is no end."""

    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class User(AbstractUser):
    """A person's login. Tenants have no password and a made-up user name; staff have both."""

    MADE_UP = "tenant-"  # user names that begin so say nothing to anybody

    first_name = None  # type: ignore[assignment]  # one name, as people here write it
    last_name = None  # type: ignore[assignment]
    name = models.CharField(_("name"), max_length=64, blank=True)
    phone = models.CharField(_("phone"), max_length=11, null=True, blank=True, unique=True, validators=[PHONE])
    # The privacy notice they consented to last (Consent has all of them): known wherever the person is known.
    notice_version = models.CharField(_("privacy notice"), max_length=16, blank=True, default="")
    # Two logins turned out to be one person: this one ended, and what was theirs is the other's.
    merged_into = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("joined with")
    )
    merged_at = models.DateTimeField(_("joined"), null=True, blank=True)

    objects: ClassVar[UserManager[User]] = UserManager()  # type: ignore[assignment]

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(merged_into__isnull=True, merged_at__isnull=True)
                | Q(merged_into__isnull=False, merged_at__isnull=False, is_active=False),
                name="a_joined_login_has_ended",
            ),
        ]

    def __str__(self) -> str:
        return self.known_as() or self._by_home()

    def known_as(self) -> str:
        """What a person is called: by name, else by the masked phone number; blank for tenants who told neither."""
        if self.name or self.phone:
            return self.name or masked(self.phone)
        return "" if self.username.startswith(self.MADE_UP) else self.username

    def _by_home(self) -> str:
        """By where they live, or lived last. Lists that show people prefetch `memberships__tenancy__room__building`."""
        is_loaded = "memberships" in getattr(self, "_prefetched_objects_cache", {})
        rows = self.memberships.all() if is_loaded else self.memberships.select_related("tenancy__room__building")
        newest = max(rows, key=lambda member: (member.left_at is None, member.joined_at), default=None)
        return newest.called() if newest else gettext("Tenant without a home")

    def get_full_name(self) -> str:
        return self.name

    def get_short_name(self) -> str:
        return self.name


class Identity(models.Model):
    """A person as one vendor's app knows them: the openid of WeChat, the open_id of Alipay. One row an app."""

    class Provider(models.TextChoices):
        WECHAT = "wechat", _("WeChat")
        ALIPAY = "alipay", _("Alipay")

    user = models.ForeignKey(User, models.PROTECT, related_name="identities", verbose_name=_("user"))
    provider = models.CharField(_("provider"), max_length=8, choices=Provider.choices)
    app_id = models.CharField(_("app id"), max_length=32)
    subject = models.CharField(_("openid"), max_length=128)
    union_id = models.CharField(_("union id"), max_length=128, blank=True, default="")
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    left_at = models.DateTimeField(_("left the app"), null=True, blank=True)  # no message reaches them there

    class Meta:
        verbose_name = _("identity")
        verbose_name_plural = _("identities")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["provider", "app_id", "subject"], name="an_app_knows_a_person_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["provider", "union_id"], condition=~Q(union_id=""), name="identity_by_union_id"),
        ]

    def __str__(self) -> str:
        return f"{self.get_provider_display()} {self.subject[:6]}…"


class AccessToken(models.Model):
    """A login that ends: only the SHA-256 of the token is kept. The identity tells with which openid they may pay."""

    user = models.ForeignKey(User, models.CASCADE, related_name="access_tokens", verbose_name=_("user"))
    identity = models.ForeignKey(
        Identity, models.CASCADE, null=True, related_name="access_tokens", verbose_name=_("identity")
    )
    digest = models.CharField(_("digest"), max_length=64, unique=True)
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="a_token_expires_after_it_began"),
        ]

    def __str__(self) -> str:
        return f"{self.digest[:8]}…"


class PhoneCode(models.Model):
    """A code sent by SMS, which proves that somebody reads what is sent to a number. Good once, and not for long.

    `user` is who asked while logged in (a new number, two logins of one person); nobody when it is for logging in.
    Only the keyed digest of the code is kept.
    """

    class Purpose(models.TextChoices):
        LOGIN = "login", pgettext_lazy("purpose", "log in")
        PHONE = "phone", _("prove a phone number")

    class Sent(models.TextChoices):
        MADE = "made", pgettext_lazy("state", "made")
        HANDED = "handed", _("handed over")
        REFUSED = "refused", _("refused")
        UNKNOWN = "unknown", pgettext_lazy("state", "unknown")

    phone = models.CharField(_("phone"), max_length=11, validators=[PHONE])
    purpose = models.CharField(_("purpose"), max_length=8, choices=Purpose.choices)
    user = models.ForeignKey(User, models.CASCADE, null=True, blank=True, related_name="+", verbose_name=_("user"))
    digest = models.CharField(_("digest"), max_length=64)
    made_at = models.DateTimeField(_("made"))
    expires_at = models.DateTimeField(_("expires"))
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    used_at = models.DateTimeField(_("used"), null=True, blank=True)
    sent = models.CharField(_("sent"), max_length=8, choices=Sent.choices, default=Sent.MADE)

    class Meta:
        verbose_name = _("SMS code")
        verbose_name_plural = _("SMS codes")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("made_at")), name="a_code_expires_after_it_was_made"),
            models.CheckConstraint(
                condition=Q(purpose="login", user__isnull=True) | Q(purpose="phone", user__isnull=False),
                name="a_code_for_a_new_number_is_asked_for_by_somebody",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["phone", "-made_at"], name="codes_of_a_phone"),
        ]

    def __str__(self) -> str:
        return f"{masked(self.phone)} {self.get_purpose_display()}"


class Consent(models.Model):
    """That a person consented to a version of the privacy notice (PIPL, article 14). Kept, never changed."""

    class Through(models.TextChoices):
        API = "api", _("mini-program")
        PAGE = "page", _("web page")

    user = models.ForeignKey(User, models.PROTECT, related_name="consents", verbose_name=_("user"))
    version = models.CharField(_("version"), max_length=16)
    given_at = models.DateTimeField(_("given"))
    came_through = models.CharField(_("came through"), max_length=4, choices=Through.choices)

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "version"], name="a_person_consents_to_a_notice_once"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.version}"


class Property(models.Model):
    """Buildings run by one manager. Its code is part of each meter's MQTT topics, so it never changes."""

    code = models.CharField(_("code"), max_length=32, unique=True, validators=[CODE])
    name = models.CharField(_("name"), max_length=64)
    phone = models.CharField(
        _("phone"),
        max_length=20,
        blank=True,
        default="",
        validators=[SERVICE_PHONE],
        help_text=_("Where tenants reach somebody at any hour; it stands in messages."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("property")
        verbose_name_plural = _("properties")

    def __str__(self) -> str:
        return self.name


class Building(models.Model):
    property = models.ForeignKey(Property, models.PROTECT, related_name="buildings", verbose_name=_("property"))
    name = models.CharField(_("name"), max_length=64)

    class Meta:
        verbose_name = _("building")
        verbose_name_plural = _("buildings")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["property", "name"], name="a_building_has_its_own_name"),
        ]

    def __str__(self) -> str:
        return f"{self.property} {self.name}"


class Room(models.Model):
    property = models.ForeignKey(Property, models.PROTECT, related_name="rooms", verbose_name=_("property"))
    building = models.ForeignKey(Building, models.PROTECT, related_name="rooms", verbose_name=_("building"))
    number = models.CharField(pgettext_lazy("room", "number"), max_length=32)

    class Meta:
        verbose_name = _("room")
        verbose_name_plural = _("rooms")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["building", "number"], name="a_room_has_its_own_number"),
        ]

    def __str__(self) -> str:
        return f"{self.building.name}-{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A room lies where its building lies; the property on it is for filtering and never chosen by hand."""
        self.property_id = self.building.property_id
        super().save(*args, **kwargs)


class Tenancy(models.Model):
    """Who lives in a room from when to when (`ends_at` is the first instant no longer theirs; none while open)."""

    property = models.ForeignKey(Property, models.PROTECT, related_name="tenancies", verbose_name=_("property"))
    room = models.ForeignKey(Room, models.PROTECT, related_name="tenancies", verbose_name=_("room"))
    starts_at = models.DateTimeField(_("moved in"))
    ends_at = models.DateTimeField(_("moved out"), null=True, blank=True)

    class Meta:
        verbose_name = _("tenancy")
        verbose_name_plural = _("tenancies")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["room"], condition=Q(ends_at__isnull=True), name="a_room_has_one_open_tenancy"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")), name="a_tenancy_ends_after_it_began"
            ),
            ExclusionConstraint(
                name="a_room_is_let_once_at_a_time",
                expressions=[("room", RangeOperators.EQUAL), (Span("starts_at", "ends_at"), RangeOperators.OVERLAPS)],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.room} · {localtime(self.starts_at):%Y-%m-%d}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.property_id = self.room.property_id
        super().save(*args, **kwargs)

    def is_open(self, now: datetime) -> bool:
        return self.starts_at <= now and (self.ends_at is None or now < self.ends_at)


class Member(models.Model):
    """A person of a tenancy. Several may share a room; one of them is the holder."""

    class Role(models.TextChoices):
        HOLDER = "holder", _("holder")
        SHARER = "sharer", _("sharer")

    tenancy = models.ForeignKey(Tenancy, models.PROTECT, related_name="members", verbose_name=_("tenancy"))
    user = models.ForeignKey(User, models.PROTECT, related_name="memberships", verbose_name=_("user"))
    role = models.CharField(_("role"), max_length=8, choices=Role.choices)
    joined_at = models.DateTimeField(_("joined"))
    left_at = models.DateTimeField(_("left"), null=True, blank=True)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["tenancy", "user"], condition=Q(left_at__isnull=True), name="a_person_joins_a_tenancy_once"
            ),
            models.UniqueConstraint(
                fields=["tenancy"], condition=Q(role="holder", left_at__isnull=True), name="a_tenancy_has_one_holder"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.called()} ({self.get_role_display()})"

    def called(self) -> str:
        """What this person is called: who told us neither name nor phone number is the tenant of their room."""
        return self.user.known_as() or gettext("Tenant of %(room)s") % {"room": self.tenancy.room}

    def called_with_phone(self) -> str:
        """王小明 138****5678"""
        called, phone = self.called(), masked(self.user.phone)
        return called if called == phone else f"{called} {phone}".strip()


class Invitation(models.Model):
    """A way into a tenancy, used once: a code that staff print, a phone number that WeChat vouches for, or both.

    The code itself is shown when it is made and never again; its keyed digest is kept.
    """

    tenancy = models.ForeignKey(Tenancy, models.PROTECT, related_name="invitations", verbose_name=_("tenancy"))
    role = models.CharField(_("role"), max_length=8, choices=Member.Role.choices, default=Member.Role.HOLDER)
    code_digest = models.CharField(_("code digest"), max_length=64, unique=True)
    phone = models.CharField(_("phone"), max_length=11, blank=True, default="", validators=[PHONE])
    created_at = models.DateTimeField(_("created"))
    expires_at = models.DateTimeField(_("expires"))
    created_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", verbose_name=_("created by"))
    used_at = models.DateTimeField(_("used"), null=True, blank=True)
    used_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("used by")
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["phone"],
                condition=Q(used_at__isnull=True, revoked_at__isnull=True) & ~Q(phone=""),
                name="open_invitation_by_phone",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tenancy} ({self.get_role_display()})"


class StaffRole(models.Model):
    """What a member of staff may do at a property. No row, no sight of it; superusers see everything."""

    class Role(models.TextChoices):
        MANAGER = "manager", _("manager")
        FINANCE = "finance", _("finance")
        SERVICE = "service", _("front desk")

    user = models.ForeignKey(User, models.CASCADE, related_name="staff_roles", verbose_name=_("user"))
    property = models.ForeignKey(Property, models.CASCADE, related_name="staff_roles", verbose_name=_("property"))
    role = models.CharField(_("role"), max_length=8, choices=Role.choices)

    class Meta:
        verbose_name = _("staff role")
        verbose_name_plural = _("staff roles")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "property"], name="one_staff_role_a_property"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.property} · {self.get_role_display()}"


class Guesses(models.Model):
    """How often somebody tried something that can be guessed (an invitation code) within a window.

    One row a (kind, who); counted by a guarded update, so that parallel guesses are counted too.
    """

    kind = models.CharField(max_length=16)
    who = models.CharField(max_length=64)
    window_began_at = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["kind", "who"], name="guesses_are_counted_in_one_row"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.who}: {self.count}"
