"""What hangs on a meter can be scanned, and leads to the page of that meter."""

from __future__ import annotations

import re
import zlib

import pytest
import segno
from django.urls import resolve

from accounts.models import Building, Room
from meters.models import Meter
from portal import labels
from tests import makers
from tests.desk import at_work, staff_of

pytestmark = pytest.mark.django_db


def a_building(*numbers: str) -> Building:
    place = makers.a_property(name="阳光花园", phone="400-800-1234")
    building = Building.objects.create(property=place, name="3号楼")
    for number in numbers:
        makers.a_meter(room=Room.objects.create(building=building, number=number))
    return building


def sheet_of(building: Building, user, **query):
    return at_work(user).get(f"/admin/accounts/building/{building.pk}/labels.pdf", query)


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def drawn(pdf: bytes) -> bytes:
    """All that is drawn, unpacked."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    import base64

    return b"".join(zlib.decompress(base64.a85decode(one.strip().removesuffix(b"~>"))) for one in streams)


def test_each_meter_that_hangs_has_a_label_in_the_order_of_rooms():
    building = a_building("1002", "201", "1001", "A10", "A9")

    found = labels.of_building(building)

    assert [one.room for one in found] == ["3号楼-201", "3号楼-1001", "3号楼-1002", "3号楼-A9", "3号楼-A10"]
    codes = set(Meter.objects.values_list("code", flat=True))
    assert {resolve(one.address.removeprefix("http://127.0.0.1:8000")).kwargs["code"] for one in found} == codes


def test_the_code_that_is_drawn_is_that_of_the_address():
    (label,) = labels.of_building(a_building("101"))

    squares = drawn(labels.sheet([label])).count(b" re f")

    assert squares == sum(sum(map(bool, row)) for row in segno.make(label.address, error="m", micro=False).matrix)


@pytest.mark.parametrize(("count", "begin", "sheets"), [(1, 1, 1), (21, 1, 1), (22, 1, 2), (3, 20, 2), (2, 20, 1)])
def test_a_sheet_has_twenty_one_and_may_begin_in_the_middle(count, begin, sheets):
    one = labels.Label("https://pay.example.com/m/0123456789ab/", "花园", "1-1", "310000000001", "")

    pdf = labels.sheet(
        [labels.Label(one.address, one.place, str(n), one.serial, "") for n in range(count)], begin=begin
    )

    assert pages(pdf) == sheets


def test_staff_print_it_and_others_find_nothing():
    building = a_building("101", "102")

    printed = sheet_of(building, staff_of(building.property), begin=5)

    assert printed.headers["Content-Type"] == "application/pdf"
    assert printed.content.startswith(b"%PDF-")
    assert sheet_of(building, staff_of(makers.a_property())).status_code == 404
    assert sheet_of(building, makers.a_user()).status_code == 302  # to the login of the admin


@pytest.mark.parametrize("begin", ["0", "22", "x", "-1", "9" * 30])
def test_a_place_that_no_sheet_has_is_the_first(begin):
    building = a_building("101")

    assert sheet_of(building, staff_of(building.property), begin=begin).status_code == 200


def test_a_building_without_meters_says_so_and_one_with_some_leads_to_the_sheet():
    empty, full = a_building(), a_building("101")
    page = "/admin/accounts/building/{}/labels/"

    without = at_work(staff_of(empty.property)).get(page.format(empty.pk))
    client = at_work(staff_of(full.property))
    on_the_row = client.get(f"/admin/accounts/building/{full.pk}/change/")
    leads = client.get(page.format(full.pk), {"begin": 7})

    assert b"No meter hangs in this building." in without.content
    assert sheet_of(empty, staff_of(empty.property)).status_code == 404
    assert page.format(full.pk).encode() in on_the_row.content
    assert f"/admin/accounts/building/{full.pk}/labels.pdf?begin=7".encode() in leads.content


def test_a_meter_that_was_taken_down_has_no_label(django_assert_num_queries):
    building = a_building("101", "102")
    room = building.rooms.get(number="101")
    hung = room.installations.get()
    hung.ends_at = makers.LONG_AGO.replace(year=2030)
    hung.save(update_fields=["ends_at"])

    with django_assert_num_queries(1):
        found = labels.of_building(building)

    assert [one.room for one in found] == ["3号楼-102"]
