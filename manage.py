#!/usr/bin/env python
"""Django's command line. Starts the embedded database where the operator names none and the command needs one."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if sys.argv[1:2] == ["demo"] and "--help" not in sys.argv:
        from config.demo.surroundings import arrange

        arrange(sys.argv[2:])
    else:
        from config.embedded.lease import ensure_database

        ensure_database(sys.argv[1:])

    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
