"""Logins and staff roles: tenants make their own logins, the operator staff's, and managers give these their roles."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.masks import shortened
from accounts.models import Identity, Member, Property, StaffRole, User
from accounts.panes import PropertyFilter, RowsInline, masked_column
from accounts.window import RuledForm, ScopedAdmin

admin.site.unregister(Group)  # roles at properties take its place


class PersonCreationForm(AdminUserCreationForm[User]):
    class Meta:
        model = User
        fields = ("username", "name", "is_staff")


class PersonChangeForm(UserChangeForm[User]):
    class Meta:
        model = User
        fields = "__all__"


@admin.display(description=_("openid"))
def shortened_subject(identity: Identity) -> str:
    return shortened(identity.subject)


class IdentitiesInline(RowsInline):
    model = Identity
    fields = readonly_fields = ("provider", "app_id", shortened_subject, "created_at")


@admin.register(User)
class PersonAdmin(ScopedAdmin[User], UserAdmin[User]):
    """Staff see whom they have to do with: who lives, and who works, at their properties."""

    form = PersonChangeForm
    add_form = PersonCreationForm
    may_add = may_change = staff.OPERATOR
    seen = ((None, {"fields": ("name", "phone", "is_active", "date_joined")}),)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("name", "phone")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "name", "usable_password", "password1", "password2", "is_staff")}),)
    readonly_fields = ("last_login", "date_joined")
    filter_horizontal = ()
    list_display = ("__str__", masked_column("phone", label=_("phone")), "is_staff", "is_active")
    list_filter = ("is_staff", "is_active")
    search_fields = ("name", "phone", "username")
    inlines = (IdentitiesInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("memberships__tenancy__room__building")

    def in_places(self, rows: QuerySet[User], places: QuerySet[Property]) -> QuerySet[User]:
        living = Member.objects.filter(tenancy__property__in=places).values("user")
        working = StaffRole.objects.filter(property__in=places).values("user")
        return rows.filter(Q(pk__in=living) | Q(pk__in=working))

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if staff.who(request).is_superuser:
            return super().get_fieldsets(request, obj)
        return self.seen


class StaffRoleForm(RuledForm):
    """Names the person as they log in: a list to choose from would show who works elsewhere."""

    rules: ClassVar = {"one_staff_role_a_property": _("This person has a role there. Change that one.")}
    username = forms.CharField(label=_("User name"), max_length=150, help_text=_("With which they log in here."))

    def clean_username(self) -> str:
        username = str(self.cleaned_data["username"])
        found = User.objects.filter(username=username, is_staff=True, is_active=True).first()
        if found is None:
            raise forms.ValidationError(_("No member of staff logs in with this name. The operator makes logins."))
        self.instance.user = found
        return username


@admin.register(StaffRole)
class StaffRoleAdmin(ScopedAdmin[StaffRole]):
    may_add = may_change = may_delete = staff.MANAGERS
    fixed = ("user", "property")
    related = ("user", "property")
    autocomplete_fields = ("property",)
    list_display = ("user", "property", "role")
    list_filter = (PropertyFilter, "role")
    search_fields = ("user__name", "user__username")

    def get_fields(self, request: HttpRequest, obj: StaffRole | None = None) -> tuple[str, ...]:
        return ("user", "property", "role") if obj else ("property", "username", "role")

    def get_form(self, request: HttpRequest, obj: StaffRole | None = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        if obj is None:
            kwargs["form"] = StaffRoleForm
        return super().get_form(request, obj, change=change, **kwargs)
