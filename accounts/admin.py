"""Places, the tenancies in them, and how people are let in and out, as staff see them."""

from __future__ import annotations

from typing import ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import invitations, members, staff
from accounts.deeds import Added, Adding, Answers, Deed, DeskForm, Facts, ReasonForm, Refused
from accounts.masks import masked
from accounts.models import PHONE, Building, Invitation, Member, Property, Room, Tenancy
from accounts.panes import PropertyFilter, RowsInline, StandingFilter, masked_column
from accounts.people_admin import PersonAdmin, StaffRoleAdmin
from accounts.window import AskingAdmin, RuledForm, ScopedAdmin

__all__ = ["PersonAdmin", "StaffRoleAdmin"]
admin.site.site_url = None  # the rest of this server is for phones and providers


@admin.register(Property)
class PropertyAdmin(ScopedAdmin[Property]):
    property_path = "pk"
    may_add = staff.OPERATOR
    may_change = staff.MANAGERS
    fixed = ("code",)  # it is part of the meters' topics
    fields = ("code", "name", "phone")
    list_display = ("name", "code", "phone", "created_at")
    search_fields = ("name", "code")


class BuildingForm(RuledForm):
    rules: ClassVar = {"a_building_has_its_own_name": _("The property has a building of this name.")}


@admin.register(Building)
class BuildingAdmin(ScopedAdmin[Building]):
    form = BuildingForm
    may_add = may_change = staff.MANAGERS
    fixed = ("property",)
    related = ("property",)
    fields = ("property", "name")
    autocomplete_fields = ("property",)
    list_display = ("name", "property")
    list_filter = (PropertyFilter,)
    search_fields = ("name", "property__name")


class RoomForm(RuledForm):
    rules: ClassVar = {"a_room_has_its_own_number": _("The building has a room of this number.")}


class TenanciesInline(RowsInline):
    model = Tenancy
    fields = ("starts_at", "ends_at")
    show_change_link = True


@admin.register(Room)
class RoomAdmin(ScopedAdmin[Room]):
    form = RoomForm
    may_add = may_change = staff.MANAGERS
    fixed = ("building",)
    related = ("property", "building__property")
    fields = ("building", "number")
    autocomplete_fields = ("building",)
    list_display = ("number", "building", "property")
    list_filter = (PropertyFilter,)
    search_fields = ("number", "building__name")
    ordering = ("property", "building", "number")
    inlines = (TenanciesInline,)


class TenancyForm(RuledForm):
    rules: ClassVar = {
        "a_room_has_one_open_tenancy": _("Somebody lives in this room. End that tenancy first."),
        "a_room_is_let_once_at_a_time": _("Somebody else lives in this room then."),
    }

    def clean(self) -> None:
        super().clean()
        self.ends_after("starts_at", told=_("A tenancy ends after it began."))


@admin.display(description=_("person"), ordering="user__name")
def person_of_member(member: Member) -> str:
    return member.called()


@admin.display(description=_("phone"))
def phone_of_member(member: Member) -> str:
    return masked(member.user.phone)


class MembersInline(RowsInline):
    model = Member
    fields = readonly_fields = (person_of_member, phone_of_member, "role", "joined_at", "left_at")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        return super().get_queryset(request).select_related("user", "tenancy__room__building")


@admin.display(description=_("members"))
def people(tenancy: Tenancy) -> str:
    """Who lives there now, the holder first."""
    present: list[Member] = tenancy.present  # type: ignore[attr-defined]  # see TenancyAdmin.get_queryset
    return ", ".join(member.called_with_phone() for member in present)


@admin.register(Tenancy)
class TenancyAdmin(ScopedAdmin[Tenancy]):
    form = TenancyForm
    may_add = may_change = staff.MANAGERS
    fixed = ("room", "starts_at")
    related = ("property", "room__building")
    fields = ("room", "starts_at", "ends_at")
    autocomplete_fields = ("room",)
    list_display = ("room", people, "starts_at", "ends_at", "property")
    list_filter = (PropertyFilter, StandingFilter)
    search_fields = ("room__number", "room__building__name", "members__user__name", "members__user__phone")
    search_help_text = _("Room, building, name or phone number")
    inlines = (MembersInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenancy]:
        living = Member.objects.filter(left_at__isnull=True).select_related("user").order_by("role", "pk")
        return super().get_queryset(request).prefetch_related(Prefetch("members", living, to_attr="present"))


def _has_left(request: HttpRequest, member: Member, answers: Answers) -> str:
    if not members.end(member=member, now=timezone.now()):
        raise Refused(gettext("This person has left before."))
    return gettext("Has left the tenancy.")


class MemberForm(RuledForm):
    rules: ClassVar = {
        "a_person_joins_a_tenancy_once": _("This person is a member already."),
        "a_tenancy_has_one_holder": _("The tenancy has a holder. Add a sharer, or let the holder leave first."),
    }

    def clean(self) -> None:
        super().clean()
        self.instance.joined_at = self.instance.joined_at or timezone.now()


@admin.register(Member)
class MemberAdmin(ScopedAdmin[Member]):
    form = MemberForm
    property_path = "tenancy__property"
    may_add = staff.MANAGERS
    related = ("user", "tenancy__room__building")
    autocomplete_fields = ("tenancy", "user")
    list_display = (person_of_member, phone_of_member, "tenancy", "role", "joined_at", "left_at")
    list_filter = (PropertyFilter, "role")
    search_fields = ("user__name", "user__phone", "tenancy__room__number")
    deeds = (
        Deed(
            name="has_left",
            label=_("Has left"),
            roles=staff.MANAGERS,
            does=_has_left,
            refusals=(Refused,),
            fits=lambda member: member.left_at is None,
            explanation=_("They see this home no more. What they paid stays with it."),
        ),
    )

    def get_fields(self, request: HttpRequest, obj: Member | None = None) -> tuple[str, ...]:
        """Somebody new is not chosen here: they come in by an invitation."""
        return ("tenancy", "user", "role", *(("joined_at", "left_at") if obj else ()))


class InvitationForm(DeskForm):
    tenancy = forms.ModelChoiceField(Tenancy.objects.none(), label=_("Tenancy"))
    role = forms.ChoiceField(label=_("Role"), choices=Member.Role.choices)
    phone = forms.CharField(
        label=_("Phone"),
        required=False,
        validators=[PHONE],
        help_text=_("Whoever proves in WeChat that this number is theirs is let in without the code."),
    )

    def prepare(self) -> None:
        homes = Tenancy.objects.filter(property__in=staff.places_where(self.request, staff.DESK))
        self.offer("tenancy", homes.select_related("room__building"), like=Invitation.tenancy.field)


def _invite(request: HttpRequest, answers: Answers) -> Added:
    try:
        made = invitations.invite(
            tenancy=answers["tenancy"],
            role=answers["role"],
            phone=answers["phone"],
            by=staff.who(request),
            now=timezone.now(),
        )
    except invitations.TenancyEndedError as error:
        raise Refused(gettext("This tenancy has ended.")) from error
    context = admin.site.each_context(request) | {
        "title": gettext("Invitation"),
        "opts": admin.site.get_model_admin(Invitation).opts,
        "invitation": made.invitation,
        "code": f"{made.code[:4]}-{made.code[4:]}",
    }
    page = TemplateResponse(request, "admin/invitation.html", context, headers={"Cache-Control": "no-store"})
    return Added(made.invitation, gettext("Invited."), page)


def _revoke(request: HttpRequest, invitation: Invitation, answers: Answers) -> str:
    if not invitations.revoke(invitation=invitation, now=timezone.now()):
        raise Refused(gettext("It was used or taken back before."))
    return gettext("Taken back.")


def _invited(invitation: Invitation) -> Facts:
    return [(_("tenancy"), invitation.tenancy), (_("created"), timezone.localtime(invitation.created_at))]


@admin.display(description=_("state"))
def state_of_invitation(invitation: Invitation) -> str:
    if invitation.used_at:
        return gettext("used")
    if invitation.revoked_at:
        return gettext("taken back")
    return gettext("not used yet") if invitation.expires_at > timezone.now() else gettext("run out")


@admin.register(Invitation)
class InvitationAdmin(AskingAdmin[Invitation]):
    property_path = "tenancy__property"
    may_add = staff.DESK
    related = ("tenancy__room__building", "created_by", "used_by")
    fields = (
        *("tenancy", "role", "phone", state_of_invitation, "created_at", "created_by", "expires_at"),
        *("used_at", "used_by", "revoked_at"),
    )
    list_display = (
        *("tenancy", "role", masked_column("phone", label=_("phone")), state_of_invitation),
        *("created_at", "created_by", "expires_at"),
    )
    list_filter = (PropertyFilter, "role")
    search_fields = ("tenancy__room__number", "phone")
    adding = Adding(
        title=_("Invite into a home"),
        button=_("Make the invitation"),
        does=_invite,
        form=InvitationForm,
        refusals=(Refused,),
        explanation=_("The code is shown once, to be printed or copied, and never again."),
    )
    deeds = (
        Deed(
            name="revoke",
            label=_("Take back"),
            roles=staff.DESK,
            does=_revoke,
            form=ReasonForm,
            refusals=(Refused,),
            facts=_invited,
            fits=lambda invitation: invitation.used_at is None and invitation.revoked_at is None,
        ),
    )
