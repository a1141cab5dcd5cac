"""Devices, what they told, and what is on its way to them."""

from meters.models.devices import SERIAL, Installation, Meter, MeterModel, Relay
from meters.models.readings import Batch, MeterEvent, Reading, StrayReading
from meters.models.wishes import Command, Level, TopUp

__all__ = [
    "SERIAL",
    "Batch",
    "Command",
    "Installation",
    "Level",
    "Meter",
    "MeterEvent",
    "MeterModel",
    "Reading",
    "Relay",
    "StrayReading",
    "TopUp",
]
