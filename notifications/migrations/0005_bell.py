"""Whoever leaves a message rings for the carrier, when the transaction commits; also where SQL inserts directly."""

from __future__ import annotations

from django.db import migrations

BELL = """
create function notifications_ring() returns trigger language plpgsql as $$
begin
    perform pg_notify('messages', '');
    return null;
end $$;
create trigger a_message_rings after insert on notifications_message
    for each statement execute function notifications_ring();
"""
BACK = """
drop trigger a_message_rings on notifications_message;
drop function notifications_ring();
"""


class Migration(migrations.Migration):
    dependencies = [("notifications", "0004_carried")]

    operations = [migrations.RunSQL(BELL, BACK)]
