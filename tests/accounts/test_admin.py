"""Places, tenancies, people and invitations in the admin: who may write them, and what is refused in words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from accounts import invitations, staff
from accounts.models import Building, Invitation, Member, Property, Room, StaffRole, Tenancy, User
from billing import money
from tests import makers
from tests.desk import address, at_work, do, no_rows, staff_of, told

pytestmark = pytest.mark.django_db
A_DAY = {"starts_at_0": "2026-03-01", "starts_at_1": "12:00:00"} | no_rows("members")


@pytest.fixture
def place():
    return makers.a_property(name="Hereyard")


@pytest.fixture
def manager(place):
    return at_work(staff_of(place))


@pytest.fixture
def clerk(place):
    return at_work(staff_of(place, "service"))


@pytest.fixture
def root():
    return at_work(makers.a_user(is_staff=True, is_superuser=True))


class TestPlaces:
    def test_the_operator_opens_a_property(self, root, manager):
        root.post(address(Property, "add"), {"code": "riverside", "name": "Riverside"})

        assert Property.objects.filter(code="riverside").exists()
        assert manager.get(address(Property, "add")).status_code == 403

    def test_its_code_never_changes(self, root, place):
        root.post(address(place, "change"), {"code": "other", "name": "Renamed"})

        before = place.code
        place.refresh_from_db()
        assert (place.code, place.name) == (before, "Renamed")

    def test_a_manager_enters_where_tenants_call(self, manager, place):
        manager.post(address(place, "change"), {"name": place.name, "phone": "400-800-1234"})

        place.refresh_from_db()
        assert place.phone == "400-800-1234"

    def test_a_manager_adds_buildings_and_rooms(self, manager, place):
        manager.post(address(Building, "add"), {"property": place.pk, "name": "Tower"})
        manager.post(
            address(Room, "add"), {"building": Building.objects.get().pk, "number": "101"} | no_rows("tenancies")
        )

        assert Room.objects.get().property == place
        assert LogEntry.objects.count() == 2

    def test_but_not_elsewhere(self, manager):
        page = manager.post(address(Building, "add"), {"property": makers.a_property().pk, "name": "Tower"})

        assert "property" in page.context["adminform"].form.errors
        assert not Building.objects.exists()

    def test_the_desk_adds_none(self, clerk):
        assert clerk.get(address(Building, "add")).status_code == 403

    def test_a_second_building_of_one_name_is_refused_in_words(self, manager, place):
        Building.objects.create(property=place, name="Tower")

        page = manager.post(address(Building, "add"), {"property": place.pk, "name": "Tower"})

        assert page.context["adminform"].form.non_field_errors() == ["The property has a building of this name."]


class TestTenancies:
    def test_a_manager_lets_a_room(self, manager, place):
        room = makers.a_room(place=place)

        manager.post(address(Tenancy, "add"), {"room": room.pk, **A_DAY})

        tenancy = Tenancy.objects.get()
        assert (tenancy.property, tenancy.room, tenancy.ends_at) == (place, room, None)

    def test_a_room_that_is_lived_in_is_not_let_again(self, manager, place):
        tenancy = makers.a_tenancy(room=makers.a_room(place=place))

        page = manager.post(address(Tenancy, "add"), {"room": tenancy.room_id, **A_DAY})

        assert "Somebody lives in this room" in page.content.decode()

    def test_two_tenancies_do_not_overlap(self, manager, place):
        ends_at = timezone.now() + timedelta(days=10)
        tenancy = makers.a_tenancy(room=makers.a_room(place=place), ends_at=ends_at)

        page = manager.post(address(Tenancy, "add"), {"room": tenancy.room_id, **A_DAY})

        assert "Somebody else lives in this room then." in page.content.decode()

    def test_it_ends_and_not_before_it_began(self, manager, place):
        tenancy = makers.a_tenancy(room=makers.a_room(place=place))

        page = manager.post(
            address(tenancy, "change"), {"ends_at_0": "2025-01-01", "ends_at_1": "12:00"} | no_rows("members")
        )
        manager.post(address(tenancy, "change"), {"ends_at_0": "2026-05-01", "ends_at_1": "12:00"} | no_rows("members"))

        tenancy.refresh_from_db()
        assert page.context["adminform"].form.errors["ends_at"] == ["A tenancy ends after it began."]
        assert f"{timezone.localtime(tenancy.ends_at):%Y-%m-%d %H:%M}" == "2026-05-01 12:00"

    def test_lists_show_no_whole_phone_number(self, manager, place):
        makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user(phone="13812345678"))

        for model in (Tenancy, Member, User):
            page = manager.get(address(model, "changelist")).content.decode()
            assert "138****5678" in page
            assert "13812345678" not in page

    def test_a_home_is_found_by_the_phone_number_of_who_lives_there(self, manager, place):
        tenancy = makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user(phone="13812345678"))

        found = manager.get(address(Tenancy, "changelist", q="13812345678")).context["cl"].result_list

        assert list(found) == [tenancy]

    def test_its_page_leads_to_the_desks_work(self, clerk, place):
        tenancy = makers.a_tenancy(room=makers.a_room(place=place))

        page = clerk.get(address(tenancy, "change")).content.decode()

        assert f"/admin/payments/counterreceipt/add/?tenancy={tenancy.pk}" in page
        assert f"/admin/billing/staffhold/add/?tenancy={tenancy.pk}&amp;room={tenancy.room_id}" in page


class TestMembers:
    def test_who_lives_at_the_property_is_added_to_another_home_there(self, manager, place):
        person = makers.a_user()
        makers.a_tenancy(room=makers.a_room(place=place), holder=person)
        other = makers.a_tenancy(room=makers.a_room(place=place))

        manager.post(address(Member, "add"), {"tenancy": other.pk, "user": person.pk, "role": "sharer"})

        assert other.members.get().user == person

    def test_a_stranger_is_no_choice(self, manager, place):
        tenancy = makers.a_tenancy(room=makers.a_room(place=place))

        page = manager.post(
            address(Member, "add"), {"tenancy": tenancy.pk, "user": makers.a_user().pk, "role": "sharer"}
        )

        assert "user" in page.context["adminform"].form.errors

    def test_a_second_holder_is_refused_in_words(self, manager, place):
        one, other = (makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user()) for _each in range(2))
        person = other.members.get().user

        page = manager.post(address(Member, "add"), {"tenancy": one.pk, "user": person.pk, "role": "holder"})

        assert "has a holder" in page.content.decode()

    def test_who_left_has_left_once(self, manager, place):
        member = makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user()).members.get()

        first = do(manager, "has_left", [member], reason="moved away")
        second = do(manager, "has_left", [member], reason="moved away")

        member.refresh_from_db()
        assert member.left_at is not None
        assert ("Has left" in told(first), "left before" in told(second)) == (True, True)
        assert "moved away" in LogEntry.objects.get().change_message


class TestInvitations:
    @pytest.fixture
    def tenancy(self, place):
        return makers.a_tenancy(room=makers.a_room(place=place))

    def invite(self, client, tenancy, **answers):
        return client.post(address(Invitation, "add"), {"tenancy": tenancy.pk, "role": "holder"} | answers)

    def test_the_code_is_shown_once_and_lets_in(self, clerk, tenancy):
        page = self.invite(clerk, tenancy)

        code = page.context["code"]
        assert code in page.content.decode()
        assert page["Cache-Control"].startswith("no-store") or "no-store" in page["Cache-Control"]
        assert code not in clerk.get(address(Invitation.objects.get(), "change")).content.decode()
        tenant = makers.a_user()
        assert invitations.join_by_code(user=tenant, code=code, now=timezone.now()).member.tenancy == tenancy

    def test_it_says_who_made_it(self, clerk, tenancy):
        self.invite(clerk, tenancy, phone="13812345678")

        assert Invitation.objects.get().created_by.name == "service of Hereyard"
        assert LogEntry.objects.count() == 1

    def test_no_phone_number_and_an_ended_tenancy_are_refused_in_the_page(self, clerk, tenancy):
        tenancy.ends_at = timezone.now()
        tenancy.save(update_fields=["ends_at"])

        assert "11 digits" in self.invite(clerk, tenancy, phone="123").content.decode()
        assert "has ended" in self.invite(clerk, tenancy).content.decode()
        assert not Invitation.objects.exists()

    def test_it_is_taken_back_once(self, clerk, tenancy):
        self.invite(clerk, tenancy)
        invitation = Invitation.objects.get()

        first = do(clerk, "revoke", [invitation], reason="lost")
        second = do(clerk, "revoke", [invitation], reason="lost")

        assert ("Taken back" in told(first), "taken back before" in told(second)) == (True, True)
        assert "taken back" in clerk.get(address(Invitation, "changelist")).content.decode()

    @pytest.mark.parametrize(("field", "word"), [("used_at", "used"), ("expires_at", "run out")])
    def test_its_state_is_said_in_words(self, clerk, tenancy, field, word):
        self.invite(clerk, tenancy)
        Invitation.objects.update(**{field: timezone.now()})

        assert word in clerk.get(address(Invitation, "changelist")).content.decode()

    def test_finance_invites_nobody(self, place):
        assert at_work(staff_of(place, "finance")).get(address(Invitation, "add")).status_code == 403


class TestStaff:
    def test_a_manager_gives_a_role_to_who_has_a_login(self, manager, place):
        colleague = makers.a_user(is_staff=True, username="wang")

        manager.post(address(StaffRole, "add"), {"property": place.pk, "username": "wang", "role": "service"})

        assert colleague.staff_roles.get().role == "service"

    def test_a_tenant_and_nobody_are_refused_alike(self, manager, place):
        makers.a_user(username="tenant")
        answers = {"property": place.pk, "role": "service"}

        pages = [manager.post(address(StaffRole, "add"), answers | {"username": name}) for name in ("tenant", "nobody")]

        told_ = [page.context["adminform"].form.errors["username"] for page in pages]
        assert told_[0] == told_[1]
        assert StaffRole.objects.count() == 1

    def test_no_role_is_given_elsewhere_nor_by_others(self, manager, clerk):
        colleague = makers.a_user(is_staff=True, username="wang")

        manager.post(
            address(StaffRole, "add"), {"property": makers.a_property().pk, "username": "wang", "role": "service"}
        )

        assert not colleague.staff_roles.exists()
        assert clerk.get(address(StaffRole, "add")).status_code == 403

    def test_a_role_changes_and_goes(self, manager, place):
        role = staff_of(place, "service").staff_roles.get()

        manager.post(address(role, "change"), {"role": "finance", "property": makers.a_property().pk})
        role.refresh_from_db()
        assert (role.role, role.property) == ("finance", place)

        manager.post(address(role, "delete"), {"post": "yes"})
        assert not StaffRole.objects.filter(pk=role.pk).exists()

    def test_a_second_role_is_refused_in_words(self, manager, place):
        user = staff_of(place, "service")

        page = manager.post(
            address(StaffRole, "add"), {"property": place.pk, "username": user.username, "role": "finance"}
        )

        assert "has a role there" in page.content.decode()

    def test_the_operator_makes_logins_and_nobody_else_does(self, root, manager):
        root.post(
            address(User, "add"),
            {"username": "zhao", "name": "赵", "is_staff": "on", "usable_password": "true"}
            | {"password1": "a-long-pass-phrase", "password2": "a-long-pass-phrase"}
            | no_rows("identities"),
        )

        made = User.objects.get(username="zhao")
        assert (made.is_staff, made.check_password("a-long-pass-phrase")) == (True, True)
        assert manager.get(address(User, "add")).status_code == 403

    def test_nobody_makes_themselves_a_superuser(self, manager, place):
        me = User.objects.get(staff_roles__role="manager")

        manager.post(address(me, "change"), {"username": me.username, "is_superuser": "on", "is_staff": "on"})
        manager.post(f"/admin/accounts/user/{me.pk}/password/", {"password1": "x" * 12, "password2": "x" * 12})

        me.refresh_from_db()
        assert (me.is_superuser, me.has_usable_password() and me.check_password("x" * 12)) == (False, False)


def test_two_who_save_at_the_same_moment_are_told(manager, place, monkeypatch):
    """What the form could not see, because the other row came in between, the table still refuses."""
    Building.objects.create(property=place, name="Tower")
    monkeypatch.setattr("accounts.admin.BuildingForm._post_clean", lambda self: setattr(self.instance, "name", "Tower"))
    monkeypatch.setattr("accounts.models.Building.property_id", place.pk, raising=False)

    page = manager.post(address(Building, "add"), {"property": place.pk, "name": "Tower"}, follow=True)

    assert "at the same moment" in told(page)


@pytest.mark.parametrize("fen", [0, 1, -1, 99, -100, 123_456_789, None])
def test_amounts_are_written_as_everywhere(fen):
    assert staff.yuan(fen) == ("" if fen is None else money.shown(fen))


def test_the_language_is_changed_in_the_header(clerk):
    page = clerk.get("/admin/").content.decode()
    assert 'value="zh-hans"' in page

    clerk.post("/i18n/setlang/", {"language": "zh-hans", "next": "/admin/"})

    assert 'lang="zh-hans"' in clerk.get("/admin/").content.decode()
