"""The fleet as a process of its own. Says `{"ready": "fleet", "url": …}` on standard output, ends on SIGTERM."""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from sandbox.fleet.control import HOST, listening
from sandbox.fleet.loop import Fleet
from sandbox.fleet.memory import MemoryInUseError


def main() -> int:
    """Exit status 1 when the fleet's thread failed."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.fleet", description=__doc__)
    parser.add_argument("--broker", required=True, help="mqtt://host:port")
    parser.add_argument("--control-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, help="file (SQLite) that survives a restart")
    parser.add_argument("--relay-ms", type=int, default=30, help="how long a relay takes to move")
    parser.add_argument("--report-every-s", type=float, default=60.0, help="0: only when asked")
    options = parser.parse_args()

    failed = threading.Event()

    def end(*_signal: object) -> None:
        # shutdown() waits for serve_forever() to end, which this very thread may be running.
        threading.Thread(target=server.shutdown).start()

    def fail() -> None:
        failed.set()
        end()

    try:
        fleet = Fleet(
            options.broker,
            relay_ms=options.relay_ms,
            report_every_s=options.report_every_s,
            state=options.state,
            on_failure=fail,
        )
    except (ValueError, MemoryInUseError) as error:
        parser.exit(1, f"fleet: {error}\n")
    server = listening(fleet, port=options.control_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with fleet:
        url = f"http://{HOST}:{server.server_port}"
        print(json.dumps({"ready": "fleet", "url": url}), flush=True)  # noqa: T201 - whoever started us waits for it
        server.serve_forever(poll_interval=0.1)
    server.server_close()
    return int(failed.is_set())


if __name__ == "__main__":
    sys.exit(main())
