"""How messages went: each delivery with its whole way, what it cost, sent again or tried out with a reason."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Facts, Text
from accounts.masks import masked, shortened
from accounts.models import Property, User
from accounts.pages import a_day
from accounts.panes import CodeFilter, PropertyFilter, plain_column, table
from accounts.window import AskingAdmin, ScopedAdmin
from notifications import desk
from notifications.kinds import MESSAGES
from notifications.models import Channel, Delivery, Message, Permit, Preference
from notifications.routing import SHANGHAI, SMS
from notifications.words import words_column

REACHED = (Delivery.State.DELIVERED, Delivery.State.READ)
A_MONTH = timedelta(days=31)


@admin.display(description=_("kind"), ordering="message__kind")
def kind_of(delivery: Delivery) -> str:
    return delivery.message.kind_in_words()


@admin.display(description=_("state"), ordering="state")
def state_of(delivery: Delivery) -> str:
    return delivery.state_in_words()


@admin.display(description=_("home"), ordering="message__tenancy")
def home_of(delivery: Delivery) -> str:
    return str(delivery.message.tenancy or "")


@admin.display(description=_("address"))
def address_of(delivery: Delivery) -> str:
    """Enough to tell two apart."""
    return masked(delivery.address) if delivery.channel in SMS else shortened(delivery.address)


@admin.display(description=_("cost"), ordering="cost_milli_fen")
def cost_of(delivery: Delivery) -> str:
    return in_yuan(delivery.cost_milli_fen) if delivery.handed_at else ""


def in_yuan(milli_fen: int) -> str:
    """An SMS costs parts of a fen."""
    return f"¥{milli_fen / 100_000:.3f}"


class StateFilter(CodeFilter):
    title = _("state")
    parameter_name = "state"
    words = dict(Delivery.State.choices)  # noqa: RUF012


class ChannelFilter(CodeFilter):
    title = pgettext_lazy("message", "channel")
    parameter_name = "channel"
    field = "channel"
    words = dict(Channel.choices)  # noqa: RUF012


class KindFilter(CodeFilter):
    title = _("kind")
    parameter_name = "kind"
    field = "message__kind"
    words = MESSAGES


def _send_again(request: HttpRequest, delivery: Delivery, answers: Answers) -> str:
    desk.send_again(delivery_id=delivery.pk, by=staff.who(request), reason=answers["reason"], now=timezone.now())
    return gettext("It is being sent again.")


def _about(delivery: Delivery) -> Facts:
    return [(kind_of(delivery), f"{delivery.get_channel_display()} · {delivery.state_in_words()}")]


class TrialForm(DeskForm):
    property = forms.ModelChoiceField(Property.objects.none(), label=_("Property"), empty_label=None)
    phone = forms.CharField(label=_("phone"), max_length=11, help_text=_("Of a person who is known here."))
    channel = forms.ChoiceField(
        label=pgettext_lazy("message", "channel"), choices=[one for one in Channel.choices if one[0] != Channel.INBOX]
    )

    def prepare(self) -> None:
        self.fields["property"].queryset = staff.places_where(self.request, staff.DESK).order_by("name")  # type: ignore[attr-defined]  # a choice among rows

    def clean_phone(self) -> User:
        """Members of staff and tenants of the asker's own properties."""
        places = staff.places_where(self.request, staff.DESK)
        theirs = Q(memberships__tenancy__property__in=places) | Q(staff_roles__property__in=places)
        known = User.objects.filter(theirs | Q(pk=staff.who(self.request).pk), phone=self.cleaned_data["phone"])
        user = known.distinct().first()
        if user is None:
            raise forms.ValidationError(_("Nobody here has this number."))
        return user


def _try_out(request: HttpRequest, answers: Answers) -> Added:
    pk = desk.trial(
        property_id=answers["property"].pk,
        user=answers["phone"],
        channel=answers["channel"],
        by=staff.who(request),
        now=timezone.now(),
    )
    return Added(Delivery.objects.get(pk=pk), gettext("The test message is on its way. What comes of it stands here."))


@admin.register(Delivery)
class DeliveryAdmin(AskingAdmin[Delivery]):
    """Messages on their way to people. "Add" is a test message: it checks a channel end to end."""

    may_add = staff.DESK
    change_list_template = "admin/deliveries.html"
    related = ("message__tenancy__room__building", "property", "user", "sent_again_by")
    fields = (
        *(kind_of, home_of, "user", "channel", address_of, "language", "text", state_of),
        *("made_at", "next_at", "claimed_at", "handed_at", "delivered_at", "read_at", "ended_at", "tries"),
        *("vendor_id", "template_id", words_column("code", label=_("code of the vendor")), "detail", "parts", cost_of),
        *("turn", "sent_again_by", "reason", "reference"),
    )
    list_display = (
        *("made_at", kind_of, home_of, "user", "channel", state_of, address_of),
        *(words_column("code", label=_("code of the vendor")), "handed_at", "delivered_at", "property"),
    )
    list_filter = (PropertyFilter, ChannelFilter, StateFilter, KindFilter)
    date_hierarchy = "made_at"
    search_fields = ("message__tenancy__room__number", "vendor_id", "reference", "message__key")
    adding = Adding(
        title=_("Test message"),
        button=_("Send"),
        does=_try_out,
        form=TrialForm,
        refusals=(desk.DeskRefused,),
        explanation=_("It goes out by exactly this channel, and costs what a message costs."),
    )
    deeds = (
        Deed(
            name="send_again",
            label=_("Send again"),
            roles=staff.DESK,
            does=_send_again,
            refusals=(desk.DeskRefused,),
            facts=_about,
            fits=lambda one: one.state in desk.OVER and one.channel != Channel.INBOX,
        ),
    )

    def get_urls(self) -> list[URLPattern]:
        costs = path("costs/", self.admin_site.admin_view(self._costs), name="notifications_delivery_costs")
        return [costs, *super().get_urls()]

    def _costs(self, request: HttpRequest) -> HttpResponse:
        context = self.admin_site.each_context(request) | {
            "title": gettext("Messages and what they cost"),
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/look.html", context | costs(request))


class SpanForm(forms.Form):
    from_date = a_day(label=_("From"))
    to_date = a_day(label=_("To"))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("from_date"), cleaned.get("to_date")
        if first and last and not timedelta() <= last - first <= A_MONTH:
            raise forms.ValidationError(_("Choose up to 31 days."))
        return cleaned


def costs(request: HttpRequest) -> dict[str, Any]:
    """By day, property and channel: how many, how many arrived, and the money. Plan: deliveries_of_a_property."""
    today = timezone.localdate()
    asked = {"from_date": today - timedelta(days=6), "to_date": today}
    form = SpanForm(request.GET if "from_date" in request.GET else asked)
    if not form.is_valid():
        return {"form": form}
    begins = datetime.combine(form.cleaned_data["from_date"], time(), SHANGHAI)
    ends = datetime.combine(form.cleaned_data["to_date"], time(), SHANGHAI) + timedelta(days=1)
    rows = (
        Delivery.objects.filter(
            property__in=staff.places_where(request, staff.EVERYBODY), made_at__gte=begins, made_at__lt=ends
        )
        .exclude(channel=Channel.INBOX)
        .values("made_at__date", "property__name", "channel")
        .annotate(
            times=Count("pk"),
            handed=Count("pk", filter=Q(handed_at__isnull=False)),
            arrived=Count("pk", filter=Q(state__in=REACHED)),
            parts=Sum("parts", filter=Q(handed_at__isnull=False)),
            milli_fen=Sum("cost_milli_fen", filter=Q(handed_at__isnull=False)),
        )
        .order_by("-made_at__date", "property__name", "channel")
    )
    lines = list(rows)
    heads: list[Text] = [
        _("day"),
        _("property"),
        pgettext_lazy("message", "channel"),
        _("messages"),
        _("handed over"),
        _("arrived"),
    ]
    cells = (
        (
            f"{one['made_at__date']:%Y-%m-%d}",
            one["property__name"],
            Channel(one["channel"]).label,
            *(one["times"], one["handed"], one["arrived"], one["parts"] or "", in_yuan(one["milli_fen"] or 0)),
        )
        for one in lines
    )
    total = in_yuan(sum(one["milli_fen"] or 0 for one in lines))
    facts: list[tuple[Text, object]] = [(_("messages"), sum(one["times"] for one in lines)), (_("cost"), total)]
    return {"form": form, "facts": facts, "tables": [("", table([*heads, _("parts"), _("cost")], cells))]}


@admin.register(Permit)
class PermitAdmin(ScopedAdmin[Permit]):
    """What people of a property allowed us to send them in the mini-program."""

    property_path = "identity__user__memberships__tenancy__property"
    related = ("identity__user",)
    fields = (plain_column("template_id", label=_("template of the vendor")), "given_at", "used_at", "ended_at")
    list_display = ("identity", "template_id", "given_at", "used_at", "ended_at")

    def in_places(self, rows: Any, places: Any) -> Any:
        """A person may live in several homes: each permit is shown once."""
        return rows.filter(identity__user__in=User.objects.filter(memberships__tenancy__property__in=places))


@admin.register(Preference)
class PreferenceAdmin(ScopedAdmin[Preference]):
    """What people want to be told, and when not; they change it themselves."""

    property_path = "user__memberships__tenancy__property"
    related = ("user",)
    fields = ("user", "off_kinds", "quiet_from", "quiet_until", "language", "changed_at")
    list_display = ("user", "off_kinds", "quiet_from", "quiet_until", "language", "changed_at")

    def in_places(self, rows: Any, places: Any) -> Any:
        return rows.filter(user__in=User.objects.filter(memberships__tenancy__property__in=places))


def way_of(message: Message) -> str:
    """Every delivery of a message, in the order in which they were made."""
    rows = message.deliveries.select_related("user").order_by("pk")
    heads: list[Text] = [
        pgettext_lazy("message", "to"),
        pgettext_lazy("message", "channel"),
        _("state"),
        _("made"),
        _("handed over"),
        _("arrived"),
        _("read"),
    ]
    cells = (
        (
            *(one.user, one.get_channel_display(), one.state_in_words()),
            *(_told(at) for at in (one.made_at, one.handed_at, one.delivered_at, one.read_at)),
        )
        for one in rows
    )
    return table(heads, cells)


def _told(at: datetime | None) -> str:
    return f"{timezone.localtime(at):%m-%d %H:%M:%S}" if at else ""
