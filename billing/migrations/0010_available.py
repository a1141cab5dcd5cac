"""What was used and is not posted yet, so that what a person sees is what is left."""

from __future__ import annotations

from django.db import migrations

# Plan: the draws of a purse by their index, one or two rows; a property's own purse has one for each empty room.
ACCRUED = """
create function billing_accrued_nano(p_purse bigint) returns numeric language sql stable as $$
    select coalesce(sum(total_nano::numeric - posted_fen::numeric * 1000000000), 0)
      from billing_draw
     where purse_id = p_purse and counted_by = 'server'
$$;
create function billing_available_fen(p_purse bigint) returns bigint language sql stable as $$
    select floor(paid_fen + subsidy_fen - billing_accrued_nano(id) / 1000000000)::bigint
      from billing_purse
     where id = p_purse
$$;
"""
GONE = "drop function billing_available_fen(bigint); drop function billing_accrued_nano(bigint);"


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_tariff_names")]

    operations = [migrations.RunSQL(ACCRUED, GONE)]
