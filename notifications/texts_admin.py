"""Texts that staff edit: checked when they are saved, shown as a tenant would read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import ForeignKey
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import staff
from accounts.deeds import Text
from accounts.pages import Page
from accounts.panes import PropertyFilter, coded_column, table
from accounts.window import RuledForm, ScopedAdmin
from notifications import lengths, letters, samples
from notifications.kinds import MESSAGES, PLACE, TOLD
from notifications.models import Channel, Template
from notifications.routing import SMS

OURS = letters.OURS


class TemplateForm(RuledForm):
    rules = {"one_text_of_its_kind": _("There is one already for this kind, channel and language.")}  # noqa: RUF012

    kind = forms.ChoiceField(label=_("kind"), choices=[(code, label) for code, label in MESSAGES.items()])

    def clean(self) -> dict[str, Any]:
        """What a vendor would refuse is refused here, with the part that is wrong."""
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        kind = str(cleaned["kind"])
        channel = str(cleaned.get("channel", self.instance.channel))  # fixed once it is saved
        known = {*PLACE, *TOLD[kind].names}
        if channel not in OURS and not cleaned["template_id"]:
            self.add_error("template_id", ValidationError(_("This channel carries only templates of the vendor.")))
        self._check_names("text", letters.names_in(cleaned["text"]), known)
        fields = cleaned["fields"] or {}
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            self.add_error("fields", ValidationError(_('Write them as {"thing1": "{room}"}.')))
            return cleaned
        self._check_names("fields", [name for value in fields.values() for name in letters.names_in(value)], known)
        if channel in letters.WECHAT:
            for name in fields:
                if not lengths.is_wechats(name):
                    told = gettext("%(name)s is no field of WeChat's, such as thing1 or amount2.") % {"name": name}
                    self.add_error("fields", ValidationError(told))
        if channel == Channel.SMS_TENCENT and list(fields) != [str(n) for n in range(1, len(fields) + 1)]:
            self.add_error("fields", ValidationError(_("Parameters of Tencent Cloud are numbered: 1, 2, 3.")))
        return cleaned

    def _check_names(self, field: str, used: list[str], known: set[str]) -> None:
        unknown = [name for name in used if name not in known]
        if unknown:
            told = gettext("Nobody knows {%(name)s}. This kind knows: %(known)s.")
            names = ", ".join(f"{{{name}}}" for name in sorted(known))
            self.add_error(field, ValidationError(told % {"name": unknown[0], "known": names}))


def preview(_request: HttpRequest, template: Template) -> dict[str, Any]:
    """The text with made-up facts, and how long its parts are."""
    row = Template(
        property=template.property,
        kind=template.kind,
        channel=template.channel,
        language=template.language,
        template_id=template.template_id,
        text=template.text,
        fields=template.fields,
    )
    texts = letters.Texts({(template.property_id, template.kind, template.channel, template.language): row})
    message = samples.message(template.kind, place=template.property)
    written = texts.write(
        message=message, channel=template.channel, language=template.language, reference="", address=""
    )
    text = written.letter.text
    facts: list[tuple[Text, object]] = [(_("text"), text), (_("characters"), len(text))]
    if template.channel in SMS:
        facts.append((_("parts"), written.parts))
    context: dict[str, Any] = {"heading": str(TOLD[template.kind].label), "facts": facts}
    rows = [(name, value, _room_of(name, value)) for name, value in written.letter.fields.items()]
    if rows:
        context["tables"] = [(gettext("Fields"), table([_("field"), _("value"), _("characters")], rows))]
    context["notes"] = list(_notes(template, written))
    return context


def _room_of(name: str, value: str) -> str:
    limit = lengths.field_limit(name)
    return f"{len(value)} / {limit}" if limit else str(len(value))


def _notes(template: Template, written: letters.Written) -> Iterator[str]:
    yield gettext("With made-up facts. What is too long for a field is cut.")
    if written.parts > 1:
        told = gettext(
            "An SMS has %(one)d characters, each part of a longer one %(part)d: this is charged %(parts)d times."
        )
        yield told % {"one": lengths.ONE_SMS, "part": lengths.A_PART, "parts": written.parts}
    if template.channel in letters.WECHAT:
        told = gettext("%(name)s does not take “%(value)s”: WeChat would refuse the message.")
        for name, value in written.letter.fields.items():
            if not lengths.fits(name, value):
                yield told % {"name": name, "value": value}


@admin.register(Template)
class TemplateAdmin(ScopedAdmin[Template]):
    """A property's managers write its own; what holds for all properties is the operator's."""

    form = TemplateForm
    may_add = staff.MANAGERS
    may_change = staff.MANAGERS
    may_delete = staff.MANAGERS
    related = ("property", "changed_by")
    fields = ("property", "kind", "channel", "language", "template_id", "text", "fields", "changed_at", "changed_by")
    readonly_fields = ("changed_at", "changed_by")
    fixed = ("property", "channel", "language")
    list_display = (
        coded_column("kind", label=_("kind"), words=MESSAGES),
        *("channel", "language", "template_id", "changed_at", "changed_by", "property"),
    )
    list_filter = (PropertyFilter, "channel", "language")
    search_fields = ("kind", "template_id", "text")
    pages = (Page(name="preview", label=_("Preview"), shows=preview),)

    def formfield_for_foreignkey(
        self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any
    ) -> forms.ModelChoiceField[Any] | None:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None:
            field.required = not staff.who(request).is_superuser
            field.help_text = "" if field.required else field.help_text
        return field

    def save_model(self, request: HttpRequest, obj: Template, form: Any, change: Any) -> None:
        obj.changed_at, obj.changed_by = timezone.now(), staff.who(request)
        super().save_model(request, obj, form, change)
