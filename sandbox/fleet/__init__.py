"""Virtual meters, hundreds in one process: `python -m sandbox.fleet`, or `Fleet(url).start()` in a test.

They speak docs/meters.md over real MQTT, move a relay, count energy, hold money or show it, and fail on request.
"""

from sandbox.fleet.client import FleetClient
from sandbox.fleet.loop import Fleet

__all__ = ["Fleet", "FleetClient"]
