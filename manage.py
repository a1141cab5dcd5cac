#!/usr/bin/env python
"""Django's command line. Starts the embedded database where the operator names none and the command needs one."""

from __future__ import annotations

import os
import sys


def main() -> None:
    from config.embedded.lease import ensure_database

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    ensure_database(sys.argv[1:])

    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        # Whatever was asked for, the database is away: one line says so, `manage.py doctor` says why.
        sys.exit(f"meterpay: database: {str(error).splitlines()[0]} (see: manage.py doctor)")


if __name__ == "__main__":
    main()
