"""Messages and how they are carried, what people allow, texts, and the work list: what needs a person."""

from notifications.models.consent import Permit, Preference
from notifications.models.messages import Channel, Delivery, EarlyReceipt, Message
from notifications.models.texts import Template
from notifications.models.work import WorkItem

__all__ = ["Channel", "Delivery", "EarlyReceipt", "Message", "Permit", "Preference", "Template", "WorkItem"]
