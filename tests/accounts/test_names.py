"""What people are called: by name, else by the masked phone number, else by the room they live in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.login import Person, sign_in
from accounts.models import Member, User
from tests import makers
from tests.desk import address, at_work, staff_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def stranger() -> User:
    """Somebody who came in through WeChat and told us nothing."""
    return sign_in(Person("wechat", "wxsandboxmini", "openid-1", ""), now=timezone.now()).user


@pytest.mark.parametrize(
    ("kwargs", "called"),
    [
        ({"name": "王小明", "phone": "13812345678"}, "王小明"),
        ({"name": "", "phone": "13812345678"}, "138****5678"),
        ({"name": "", "username": "clerk"}, "clerk"),
    ],
)
def test_a_name_comes_before_a_phone_number_and_staff_have_user_names(kwargs, called):
    assert str(makers.a_user(**kwargs)) == called


def test_who_told_neither_is_the_tenant_of_their_room(stranger):
    assert str(stranger) == "Tenant without a home"
    home = makers.a_tenancy(holder=stranger)

    assert str(User.objects.get(pk=stranger.pk)) == f"Tenant of {home.room}"
    assert str(home.members.get()) == f"Tenant of {home.room} (holder)"


def test_where_they_live_counts_before_where_they_lived(stranger):
    here, there = makers.a_tenancy(), makers.a_tenancy()
    now = timezone.now()
    Member.objects.create(tenancy=here, user=stranger, role="sharer", joined_at=now - timedelta(days=9))
    Member.objects.create(tenancy=there, user=stranger, role="sharer", joined_at=now, left_at=now)

    assert str(stranger) == f"Tenant of {here.room}"


def test_lists_show_no_made_up_user_name_and_ask_nothing_for_each_row(stranger, django_assert_max_num_queries):
    place = makers.a_property()
    for n in range(4):
        user = stranger if n == 0 else makers.a_user(name="", username=f"{User.MADE_UP}{n}")
        makers.a_tenancy(room=makers.a_room(place=place), holder=user)
    manager = at_work(staff_of(place))
    manager.get(address(Member, "changelist"))  # content types are looked up once a process

    for model, at_most in ((Member, 12), (User, 14)):
        with django_assert_max_num_queries(at_most):
            page = manager.get(address(model, "changelist")).content.decode()
        assert User.MADE_UP not in page
        assert page.count("Tenant of ") >= 4


def test_a_phone_number_is_not_told_twice():
    home = makers.a_tenancy(holder=makers.a_user(name="", phone="13812345678"))

    assert home.members.get().called_with_phone() == "138****5678"
