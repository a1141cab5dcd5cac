from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.invitations import invite
from accounts.models import Invitation, Member, User
from sandbox.server import as_json
from sandbox.wechat_app import MiniPrograms
from tests.makers import a_login, a_meter, a_room, a_tenancy, a_user

pytestmark = pytest.mark.django_db
PHONE = "13800138000"


def get(client, path, headers=None):
    return client.get(f"/api/v1/{path}", headers={"Accept-Language": "en"} | (headers or {}))


def join(client, body, headers):
    headers = {"Accept-Language": "en"} | headers
    return client.post("/api/v1/homes", body, content_type="application/json", headers=headers)


def a_code(tenancy=None, **kwargs):
    return invite(
        **{"tenancy": tenancy or a_tenancy(), "role": "holder", "phone": "", "by": None, "now": timezone.now()} | kwargs
    ).code


def test_a_home_is_told_whole(client):
    tenant, room = a_user(), a_room()
    home = a_tenancy(room=room, holder=tenant)
    a_meter(
        room=room, held_by="meter", serial="000000000042", import_wh=123_456, balance_fen=-5, reported_at=home.starts_at
    )

    answer = get(client, f"homes/{home.pk}", a_login(tenant))

    assert answer.status_code == 200
    assert answer.json() == {
        "id": home.pk,
        "property": room.property.name,
        "building": "1",
        "room": room.number,
        "role": "holder",
        "starts_at": "2026-01-01T08:00:00+08:00",
        "balance": {
            "available": {"fen": 0, "yuan": "0.00"},
            "posted": {"fen": 0, "yuan": "0.00"},
            "accrued": {"fen": 0, "yuan": "0.00"},
            "days_left": None,
            "disputed": {"fen": 0, "yuan": "0.00"},
            "in_transit": {"fen": 0, "yuan": "0.00"},
            "in_meter": {"fen": -5, "yuan": "-0.05"},
            "in_meter_at": "2026-01-01T08:00:00+08:00",
            "as_of": "2026-01-01T08:00:00+08:00",
        },
        "power": {
            "relay": "unknown",
            "since": None,
            "wanted": "unknown",
            "why": "",
            "how_to_restore": "",
            "not_kept": "",
        },
        "meters": [
            {
                "serial": "000000000042",
                "online": False,
                "last_seen_at": None,
                "read_at": "2026-01-01T08:00:00+08:00",
                "relay": "unknown",
                "import_kwh": "123.456",
                "power_w": None,
                "holds_money": True,
            }
        ],
        "hold": None,
        "alerts": [],
        "price": None,
        "next_price": None,
    }


def test_all_homes_are_listed(client):
    tenant = a_user()
    own = [a_tenancy(holder=tenant).pk, a_tenancy(holder=tenant).pk]
    a_tenancy(holder=a_user())

    answer = get(client, "homes", a_login(tenant))

    assert [home["id"] for home in answer.json()["homes"]] == own


def test_a_meter_that_never_reported_has_no_register(client):
    tenant, room = a_user(), a_room()
    home = a_tenancy(room=room, holder=tenant)
    a_meter(room=room)

    told = get(client, f"homes/{home.pk}", a_login(tenant)).json()

    assert told["meters"][0]["import_kwh"] is None
    assert told["balance"]["in_meter"] is None


def ex_member(home):
    leaver = a_user()
    Member.objects.create(
        tenancy=home, user=leaver, role="sharer", joined_at=home.starts_at, left_at=timezone.now() - timedelta(days=1)
    )
    return leaver


def holder_of_an_ended_tenancy(home):
    holder = a_user()
    Member.objects.create(tenancy=home, user=holder, role="sharer", joined_at=home.starts_at)
    home.ends_at = timezone.now()
    home.save(update_fields=["ends_at"])
    return holder


def stranger(_home):
    neighbour = a_user()
    a_tenancy(holder=neighbour)
    return neighbour


@pytest.mark.parametrize("who", [stranger, ex_member, holder_of_an_ended_tenancy])
def test_not_theirs_is_the_same_as_not_there(client, who):
    home = a_tenancy(holder=a_user())
    headers = a_login(who(home))

    not_theirs = get(client, f"homes/{home.pk}", headers)
    not_there = get(client, f"homes/{home.pk + 10_000}", headers)

    assert not_theirs.status_code == not_there.status_code == 404
    assert without_trace(not_theirs) == without_trace(not_there)
    assert home.pk not in [one["id"] for one in get(client, "homes", headers).json()["homes"]]


def without_trace(answer):
    error = answer.json()
    return {name: error[name] for name in error if name != "trace"}


@pytest.mark.parametrize("path", ["homes", "homes/1"])
def test_nobody_in_particular_sees_nothing(client, path):
    assert get(client, path).status_code == 401


def test_nobody_in_particular_joins_nothing(client):
    assert join(client, {"code": a_code()}, {}).status_code == 401
    assert not Member.objects.exists()


def test_no_home_has_a_number_that_large(client):
    assert get(client, f"homes/{10**30}", a_login(a_user())).status_code == 404


def test_a_code_opens_the_home_it_was_printed_for(client):
    tenant, tenancy = a_user(), a_tenancy()
    headers = a_login(tenant)

    answer = join(client, {"code": a_code(tenancy)}, headers)

    assert answer.status_code == 201
    [told] = answer.json()["homes"]
    assert (told["id"], told["role"], told["room"]) == (tenancy.pk, "holder", tenancy.room.number)
    assert get(client, f"homes/{tenancy.pk}", headers).status_code == 200


def test_the_same_code_again_is_a_200(client):
    headers, body = a_login(a_user()), {"code": a_code()}
    first = join(client, body, headers)

    again = join(client, body, headers)

    assert again.status_code == 200
    assert again.json() == first.json()


def test_unknown_used_revoked_and_expired_codes_are_one_answer(client):
    headers, long_ago = a_login(a_user()), timezone.now() - timedelta(days=30)
    used, revoked, expired = a_code(), a_code(), a_code(now=long_ago)
    join(client, {"code": used}, a_login(a_user()))
    Invitation.objects.filter(used_at=None, created_at__gt=long_ago).update(revoked_at=timezone.now())

    answers = [join(client, {"code": code}, headers) for code in ("AAAAAAAA", used, revoked, expired)]

    assert {answer.status_code for answer in answers} == {404}
    assert len({str(without_trace(answer)) for answer in answers}) == 1
    assert without_trace(answers[0])["code"] == "unknown_code"


def test_the_code_of_an_ended_tenancy_says_that_it_has_ended(client):
    tenancy = a_tenancy()
    code = a_code(tenancy)
    tenancy.ends_at = timezone.now()
    tenancy.save(update_fields=["ends_at"])

    answer = join(client, {"code": code}, a_login(a_user()))

    assert answer.status_code == 409
    assert without_trace(answer)["code"] == "tenancy_ended"


def test_guessing_codes_ends_in_a_429_that_says_when_to_come_back(client):
    headers = a_login(a_user())
    for n in range(10):
        assert join(client, {"code": f"WRONG{n:03}"}, headers).status_code == 404

    answer = join(client, {"code": a_code()}, headers)

    assert answer.status_code == 429
    assert 3590 < int(answer.headers["Retry-After"]) <= 3600
    assert without_trace(answer)["code"] == "too_many_tries"


def test_a_phone_number_that_wechat_vouches_for_opens_its_homes(client, wechat):
    tenant, tenancy = a_user(), a_tenancy()
    a_code(tenancy, phone=PHONE)

    answer = join(client, {"phone_code": wechat.tap(phone=PHONE)["phone_code"]}, a_login(tenant))

    assert answer.status_code == 201
    assert [told["id"] for told in answer.json()["homes"]] == [tenancy.pk]
    assert User.objects.get(pk=tenant.pk).phone == PHONE


def test_a_phone_number_that_nobody_invited_opens_nothing(client, wechat):
    answer = join(client, {"phone_code": wechat.tap(phone=PHONE)["phone_code"]}, a_login(a_user()))

    assert answer.status_code == 404
    assert without_trace(answer)["code"] == "no_invitation"


@pytest.fixture
def abroad(monkeypatch):
    """The box knows mainland numbers alone; WeChat also vouches for others, whose digits may look like ours."""
    info = {"purePhoneNumber": PHONE, "countryCode": "852"}
    monkeypatch.setattr(MiniPrograms, "phone_number", lambda *_: as_json({"errcode": 0, "phone_info": info}))


@pytest.mark.usefixtures("abroad", "wechat")
def test_a_number_from_abroad_is_not_taken_for_ours(client):
    a_code(phone=PHONE)

    answer = join(client, {"phone_code": "0code"}, a_login(a_user()))

    assert answer.status_code == 404
    assert not User.objects.filter(phone=PHONE).exists()


def test_a_login_code_is_no_phone_code(client, wechat):
    a_code(phone=PHONE)

    answer = join(client, {"phone_code": wechat.tap(phone=PHONE)["code"]}, a_login(a_user()))

    assert answer.status_code == 400
    assert without_trace(answer)["code"] == "code_refused"


def test_while_wechat_is_away_no_phone_number_is_believed(client, wechat):
    a_code(phone=PHONE)
    wechat.break_down("getuserphonenumber", status=502)

    answer = join(client, {"phone_code": wechat.tap(phone=PHONE)["phone_code"]}, a_login(a_user()))

    assert answer.status_code == 503
    assert not Member.objects.exists()


@pytest.mark.parametrize(
    "body", [{}, {"code": "A", "phone_code": "B"}, {"code": ""}, {"code": "x" * 33}, [], {"code": {}}]
)
def test_joining_takes_one_code_or_the_other(client, body):
    assert join(client, body, a_login(a_user())).status_code == 400


def test_a_list_of_homes_costs_two_questions(client, django_assert_num_queries):
    tenant = a_user()
    for _ in range(2):
        room = a_room()
        a_meter(room=room, relay="closed")
        a_tenancy(room=room, holder=tenant)
    headers = a_login(tenant)

    with django_assert_num_queries(2):  # token, memberships, meters, levels, holds, what draws
        get(client, "homes", headers)
