"""Nobody's data is shown before they consented to the privacy notice (PIPL, article 13)."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import consents
from accounts.models import User


class HasConsented(BasePermission):
    """403 consent_needed until POST /api/v1/privacy/consent; the notice changes seldom, and then is asked again."""

    message = _("Please read the privacy notice and consent to it first.")
    code = "consent_needed"

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.user, User) and consents.is_given(request.user)
