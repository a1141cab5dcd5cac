"""What staff may do in the admin: a deed has a name on its button, the roles that may, a form, and one call.

The call is the function that everybody calls. What it returns is told to the person and kept, with the reason they
gave, in the history of what they did it to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from accounts.staff import Roles

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    Text = str | _StrPromise
else:
    Text = object  # a str, or one that is translated when it is shown

Facts = Sequence[tuple[Text, object]]
Answers = dict[str, Any]
_INSTANT = "%Y-%m-%dT%H:%M"


class DeskForm(forms.Form):
    """A form that knows who fills it in, so that it offers what is theirs and nothing else.

    `rows` are what a deed is about to be done to; none on a page that adds something.
    """

    required_css_class = "required"

    def __init__(
        self, *args: Any, request: HttpRequest, site: admin.AdminSite, rows: Sequence[Any] = (), **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.site, self.rows = request, site, rows
        self.prepare()

    def prepare(self) -> None:
        """Where a form says what it offers."""

    def offer(self, name: str, rows: QuerySet[Any], *, like: Any) -> None:
        """Lets a field choose among these rows, searched for as one types. `like` is a foreign key to their table."""
        field = self.fields[name]
        if not isinstance(field, forms.ModelChoiceField):
            raise TypeError(f"{name} chooses nothing")
        field.widget = AutocompleteSelect(like, self.site, attrs={"style": "width: 30em"})
        field.queryset = rows
        field.widget.choices = field.choices


class ReasonForm(DeskForm):
    reason = forms.CharField(label=_("Reason"), max_length=255, widget=forms.TextInput(attrs={"class": "vTextField"}))


def instant(*, label: Text, **kwargs: Any) -> forms.DateTimeField:
    """A field for an instant that the browser's own calendar fills in."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_INSTANT)
    return forms.DateTimeField(label=label, widget=widget, **kwargs)


def only_itself(row: Model) -> Facts:
    return [(_("chosen"), str(row))]


def always(_row: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Deed:
    """Something done to rows that exist.

    `does(request, row, answers)` raises one of `refusals` when it will not, with a text for the person, and then has
    changed nothing; it returns what to tell. `fits` says on which rows' pages the button stands.
    """

    name: str
    label: Text
    roles: Roles
    does: Callable[[HttpRequest, Any, Answers], str]
    form: type[DeskForm] = ReasonForm
    explanation: Text = ""
    refusals: tuple[type[Exception], ...] = ()
    facts: Callable[[Any], Facts] = only_itself
    fits: Callable[[Any], bool] = always
    at_most: int = 100  # a page of a list


class Added(NamedTuple):
    """`told` is what the person reads and the history keeps (blank: it was there before); `page` is shown instead of
    the row's own."""

    row: Model
    told: str
    page: HttpResponse | None = None


@dataclass(frozen=True, slots=True)
class Adding:
    """Something that comes about by a call, where the admin would write a row.

    `does(request, answers)` raises one of `refusals` when it will not. Where `facts` gives something, a second page
    shows it and asks whether it is right before anything is done.
    """

    title: Text
    button: Text
    does: Callable[[HttpRequest, Answers], Added]
    form: type[DeskForm]
    explanation: Text = ""
    refusals: tuple[type[Exception], ...] = ()
    facts: Callable[[Answers], Facts] | None = None


def kept(told: str, answers: Answers) -> str:
    """What the history keeps: what was done, and the reason for it."""
    reason = str(answers.get("reason", "")).strip()
    return f"{told} — {reason}" if reason else told


class Refused(Exception):
    """What was asked cannot be done, and nothing was; the text is for the person who asked."""
