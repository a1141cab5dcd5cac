"""What this floor adds to pages of the admin that lower floors have made."""

from __future__ import annotations

from django.contrib import admin

from accounts.models import Building
from portal import labels_admin

buildings = admin.site.get_model_admin(Building)
buildings.pages = (*buildings.pages, labels_admin.PAGE)  # type: ignore[attr-defined]  # a PagedAdmin
