from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError

from accounts import guesses, invitations
from accounts.invitations import TenancyEndedError, UnknownCodeError, invite, join_by_code, join_by_phone, revoke
from accounts.models import Guesses, Invitation, Member, User
from tests.accounts.racing import at_once
from tests.makers import LONG_AGO, a_tenancy, a_user

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PHONE = "13800138000"


def invited(tenancy=None, *, role="holder", phone="", now=NOON, **kwargs):
    return invite(tenancy=tenancy or a_tenancy(), role=role, phone=phone, by=None, now=now, **kwargs)


@pytest.mark.django_db
def test_a_code_lets_one_person_into_the_home():
    tenant, tenancy = a_user(), a_tenancy()
    _, code = invited(tenancy)

    joined = join_by_code(user=tenant, code=code, now=NOON)

    assert joined.is_new
    assert (joined.member.tenancy, joined.member.user, joined.member.role) == (tenancy, tenant, "holder")
    assert Invitation.objects.get().used_by == tenant


@pytest.mark.django_db
def test_codes_are_eight_letters_that_nobody_confuses():
    _, code = invited()

    assert len(code) == 8
    assert not set(code) & set("01OI")
    assert len(set(invitations.ALPHABET)) == 32


@pytest.mark.django_db
def test_the_code_itself_is_kept_nowhere():
    invitation, code = invited()

    row = Invitation.objects.values().get(pk=invitation.pk)

    assert code not in str(row)
    assert len(row["code_digest"]) == 64


@pytest.mark.django_db
def test_the_digest_is_worth_nothing_without_our_key(settings):
    before = invitations.digest_of("ABCDEFGH")
    settings.SECRET_KEY = "another"

    assert invitations.digest_of("ABCDEFGH") != before


@pytest.mark.django_db
def test_a_code_is_read_as_people_type_it():
    _, code = invited()

    assert join_by_code(user=a_user(), code=f" {code[:4].lower()}-{code[4:]} ", now=NOON).is_new


@pytest.mark.django_db
def test_a_used_code_is_unknown_to_the_next():
    _, code = invited()
    join_by_code(user=a_user(), code=code, now=NOON)

    with pytest.raises(UnknownCodeError):
        join_by_code(user=a_user(), code=code, now=NOON)


@pytest.mark.django_db
def test_ones_own_code_again_is_an_answer():
    tenant = a_user()
    _, code = invited()
    first = join_by_code(user=tenant, code=code, now=NOON)

    again = join_by_code(user=tenant, code=code, now=NOON + timedelta(seconds=3))

    assert again == (first.member, False)


@pytest.mark.django_db
def test_who_left_cannot_come_back_with_the_old_code():
    tenant = a_user()
    _, code = invited()
    join_by_code(user=tenant, code=code, now=NOON)
    Member.objects.update(left_at=NOON)

    with pytest.raises(UnknownCodeError):
        join_by_code(user=tenant, code=code, now=NOON + timedelta(days=1))


@pytest.mark.django_db
def test_an_expired_code_is_unknown():
    _, code = invited(lifetime=timedelta(hours=1))

    with pytest.raises(UnknownCodeError):
        join_by_code(user=a_user(), code=code, now=NOON + timedelta(hours=1))


@pytest.mark.django_db
def test_a_revoked_code_is_unknown_and_revoked_once():
    invitation, code = invited()

    assert revoke(invitation=invitation, now=NOON)
    assert not revoke(invitation=invitation, now=NOON)

    with pytest.raises(UnknownCodeError):
        join_by_code(user=a_user(), code=code, now=NOON)


@pytest.mark.django_db
def test_a_used_invitation_cannot_be_revoked():
    invitation, code = invited()
    join_by_code(user=a_user(), code=code, now=NOON)

    assert not revoke(invitation=invitation, now=NOON)


@pytest.mark.django_db
def test_nobody_is_invited_into_a_tenancy_that_has_ended():
    with pytest.raises(TenancyEndedError):
        invited(a_tenancy(ends_at=NOON))


@pytest.mark.django_db
def test_nobody_joins_a_tenancy_that_has_ended_and_the_code_stays_unused():
    tenancy = a_tenancy(ends_at=NOON + timedelta(days=1))
    _, code = invited(tenancy)

    with pytest.raises(TenancyEndedError):
        join_by_code(user=a_user(), code=code, now=NOON + timedelta(days=2))

    assert Invitation.objects.get().used_at is None


@pytest.mark.django_db
def test_who_lives_there_already_leaves_the_code_to_whom_it_was_meant_for():
    holder, flatmate = a_user(), a_user()
    tenancy = a_tenancy(holder=holder)
    _, code = invited(tenancy, role="sharer")

    assert not join_by_code(user=holder, code=code, now=NOON).is_new
    assert join_by_code(user=flatmate, code=code, now=NOON).is_new


@pytest.mark.django_db
def test_a_code_that_a_flatmate_used_is_unknown_to_whoever_lives_there_too():
    holder, tenancy = a_user(), a_tenancy()
    _, code = invited(tenancy, role="sharer")
    join_by_code(user=a_user(), code=code, now=NOON)
    join_by_code(user=holder, code=invited(tenancy).code, now=NOON)

    with pytest.raises(UnknownCodeError):
        join_by_code(user=holder, code=code, now=NOON)


@pytest.mark.django_db
def test_a_second_holder_joins_as_sharer():
    tenancy = a_tenancy(holder=a_user())
    _, code = invited(tenancy, role="holder")

    assert join_by_code(user=a_user(), code=code, now=NOON).member.role == "sharer"


@pytest.mark.django_db
def test_guessing_ends_after_ten_tries_even_with_the_right_code():
    guesser = a_user()
    _, code = invited()
    for n in range(10):
        with pytest.raises(UnknownCodeError):
            join_by_code(user=guesser, code=f"WRONG{n:03}", now=NOON)

    with pytest.raises(guesses.TooManyGuessesError):
        join_by_code(user=guesser, code=code, now=NOON)

    assert join_by_code(user=guesser, code=code, now=NOON + timedelta(hours=1)).is_new


@pytest.mark.django_db(transaction=True)
def test_of_two_people_with_one_code_one_gets_in():
    _, code = invited(role="sharer")
    people = [a_user() for _ in range(6)]

    outcomes = at_once([lambda who=who: join_by_code(user=who, code=code, now=NOON) for who in people])

    assert sum(isinstance(outcome, UnknownCodeError) for outcome in outcomes) == 5
    assert Member.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_impatient_person_joins_once():
    tenant = a_user()
    _, code = invited()

    outcomes = at_once([lambda: join_by_code(user=tenant, code=code, now=NOON)] * 6)

    assert sorted(outcome.is_new for outcome in outcomes) == [False] * 5 + [True]
    assert Guesses.objects.get().count == 6


@pytest.mark.django_db(transaction=True)
def test_two_holders_joining_at_once_are_one_holder_and_one_sharer():
    tenancy = a_tenancy()
    codes = [invited(tenancy).code for _ in range(2)]

    outcomes = at_once([lambda code=code: join_by_code(user=a_user(), code=code, now=NOON) for code in codes])

    assert sorted(outcome.member.role for outcome in outcomes) == ["holder", "sharer"]


@pytest.mark.django_db(transaction=True)
def test_people_with_two_homes_in_common_do_not_wait_for_each_other_for_ever():
    first, second = a_tenancy(), a_tenancy()
    for tenancy, phone in [(first, "13800138001"), (second, "13800138001"), (second, PHONE), (first, PHONE)]:
        invited(tenancy, phone=phone)
    people = [(a_user(), PHONE), (a_user(), "13800138001")]

    outcomes = at_once([lambda p=p: join_by_phone(user=p[0], phone=p[1], now=NOON) for p in people])

    assert [len(joined) for joined in outcomes] == [2, 2]


@pytest.mark.django_db
def test_a_proven_phone_number_opens_every_home_that_invited_it():
    tenant = a_user()
    homes = [a_tenancy(), a_tenancy()]
    for home in homes:
        invited(home, phone=PHONE)
    invited(phone="13900139000")

    joined = join_by_phone(user=tenant, phone=PHONE, now=NOON)

    assert [one.member.tenancy for one in joined] == homes
    assert all(one.is_new for one in joined)


@pytest.mark.django_db
def test_the_same_number_again_is_an_answer():
    tenant = a_user()
    invited(phone=PHONE)
    [first] = join_by_phone(user=tenant, phone=PHONE, now=NOON)

    [again] = join_by_phone(user=tenant, phone=PHONE, now=NOON + timedelta(minutes=1))

    assert again == (first.member, False)


@pytest.mark.django_db
def test_a_number_that_nobody_invited_opens_nothing():
    invited(phone="13900139000")

    assert join_by_phone(user=a_user(), phone=PHONE, now=NOON) == []


@pytest.mark.django_db
def test_revoked_expired_and_ended_invitations_are_passed_over():
    tenant, still_open = a_user(), a_tenancy()
    revoke(invitation=invited(phone=PHONE).invitation, now=NOON)
    invited(phone=PHONE, lifetime=timedelta(minutes=1))
    invited(a_tenancy(ends_at=NOON + timedelta(minutes=30)), phone=PHONE)
    invited(still_open, phone=PHONE)

    joined = join_by_phone(user=tenant, phone=PHONE, now=NOON + timedelta(hours=1))

    assert [one.member.tenancy for one in joined] == [still_open]


@pytest.mark.django_db
def test_a_number_used_by_another_opens_nothing():
    invited(phone=PHONE)
    join_by_phone(user=a_user(), phone=PHONE, now=NOON)

    assert join_by_phone(user=a_user(), phone=PHONE, now=NOON) == []


@pytest.mark.django_db
def test_a_proven_number_becomes_the_persons_own():
    tenant = a_user()

    join_by_phone(user=tenant, phone=PHONE, now=NOON)

    assert (tenant.phone, User.objects.get(pk=tenant.pk).phone) == (PHONE, PHONE)


@pytest.mark.django_db
def test_a_number_that_stands_with_another_login_stays_there_and_still_opens_the_home():
    earlier, tenant = a_user(phone=PHONE), a_user()
    invited(phone=PHONE)

    joined = join_by_phone(user=tenant, phone=PHONE, now=NOON)

    assert len(joined) == 1
    assert tenant.phone is None
    assert User.objects.get(pk=earlier.pk).phone == PHONE


@pytest.mark.django_db
def test_staff_cannot_invite_what_is_no_phone_number():
    with pytest.raises(ValidationError):
        invited(phone="12345")


@pytest.mark.django_db
def test_a_home_can_be_joined_before_its_first_day():
    tenancy = a_tenancy(starts_at=NOON + timedelta(days=7))
    _, code = invited(tenancy)

    assert join_by_code(user=a_user(), code=code, now=NOON).is_new
    assert tenancy.starts_at > LONG_AGO
