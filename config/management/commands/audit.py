"""manage.py audit: everything recomputed; exits 1 and names what does not add up.

It stands here and not in billing because it puts together the checks of all floors, and calls go down.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from billing import audit as billing_audit
from billing import mirror_audit, usage_audit
from payments import audit as payments_audit

CHECKS: tuple[billing_audit.Check, ...] = (
    *billing_audit.CHECKS,
    *usage_audit.CHECKS,
    *mirror_audit.CHECKS,
    *payments_audit.CHECKS,
)


class Command(BaseCommand):
    help = "Recomputes all money from the ledger's rows; exits 1 and names what does not add up."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        report = billing_audit.audit(checks=CHECKS, now=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False))
        else:
            for finding in report.findings:
                self.stdout.write(str(finding))
            self.stdout.write(report.summary())
        if not report.is_clean():
            sys.exit(1)
