"""What tenants see, allow and wish for: theirs alone, however often they ask."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import AccessToken, Identity, Tenancy, User
from notifications import links, outbox, permits, proof, routes
from notifications.models import Channel, Delivery, Permit, Preference
from tests import makers
from tests.notifications.post import a_phone, a_template, leave
from tests.racing import race

pytestmark = pytest.mark.django_db
MINI = "tmpl-low"


@pytest.fixture
def home() -> Tenancy:
    return makers.a_tenancy(holder=makers.a_user(phone=a_phone()))


@pytest.fixture
def tenant(home: Tenancy) -> User:
    return home.members.get().user


def carry() -> None:
    """Into the inboxes; nothing else is set up."""
    while routes.route(channels=(), now=timezone.now()):
        pass


def ask(client, path: str, user: User | dict[str, str], **query):
    headers = user if isinstance(user, dict) else makers.a_login(user)
    return client.get(f"/api/v1/{path}", query, headers={"Accept-Language": "en"} | headers)


def send(client, path: str, user: User | dict[str, str], content=None, *, method: str = "post"):
    headers = user if isinstance(user, dict) else makers.a_login(user)
    call = getattr(client, method)
    return call(
        f"/api/v1/{path}", content or {}, content_type="application/json", headers={"Accept-Language": "en"} | headers
    )


# ---- the inbox ----


def test_the_inbox_has_everything_newest_first(client, home, tenant):
    leave(home, key="one")
    carry()
    leave(home, key="two", kind="recharge_received", amount_fen=5000)
    carry()

    told = ask(client, "messages", tenant).json()

    assert [one["kind"] for one in told["messages"]] == ["recharge_received", "low_balance"]
    assert told["messages"][0]["text"] == f"{home.room}充值50.00元已到账。"
    assert told["messages"][0]["home"] == home.pk
    assert (told["unread"], told["next"]) == (2, None)


def test_it_comes_in_pages_that_miss_nothing_and_double_nothing(client, home, tenant):
    for n in range(45):
        leave(home, key=f"one:{n}")
    carry()

    found: list[int] = []
    before: dict[str, int] = {}
    while True:
        told = ask(client, "messages", tenant, **before).json()
        found += [one["id"] for one in told["messages"]]
        if told["next"] is None:
            break
        before = {"before": told["next"]}

    assert len(found) == len(set(found)) == 45
    assert found == sorted(found, reverse=True)


def test_what_was_withdrawn_says_that_it_is_no_longer_true(client, home, tenant):
    message = leave(home)
    carry()
    outbox.withdraw(key=message.key, now=timezone.now())

    (told,) = ask(client, "messages", tenant).json()["messages"]

    assert told["is_withdrawn"] is True


def test_opening_one_is_proof_and_opening_it_again_changes_nothing(client, home, tenant):
    message = leave(home)
    carry()
    (told,) = ask(client, "messages", tenant).json()["messages"]

    first = send(client, f"messages/{told['id']}/read", tenant)
    read_at = Delivery.objects.get().read_at
    again = send(client, f"messages/{told['id']}/read", tenant)

    assert (first.json(), again.json()) == ({"unread": 0}, {"unread": 0})
    assert Delivery.objects.get().read_at == read_at
    assert proof.of(keys=[message.key], level="read")[message.key].to == tenant.pk


def test_all_up_to_one_are_read_and_what_came_after_is_not(client, home, tenant):
    for n in range(3):
        leave(home, key=f"one:{n}")
        carry()
    ids = [one["id"] for one in ask(client, "messages", tenant).json()["messages"]]

    told = send(client, "messages/read", tenant, {"up_to": ids[1]})

    assert told.json() == {"unread": 1}


def test_nobody_opens_or_sees_what_was_told_to_somebody_else(client, home, tenant):
    leave(home)
    carry()
    neighbour = makers.a_tenancy(holder=makers.a_user()).members.get().user
    pk = Delivery.objects.get().pk

    assert ask(client, "messages", neighbour).json()["messages"] == []
    assert send(client, f"messages/{pk}/read", neighbour).status_code == 404
    assert send(client, "messages/read", neighbour, {"up_to": pk}).status_code == 200
    assert Delivery.objects.get().state == "handed"


def test_who_has_left_keeps_what_they_were_told_and_hears_no_more(client, home, tenant):
    leave(home, key="before")
    carry()
    home.members.update(left_at=timezone.now() - timedelta(seconds=1))
    leave(home, key="after")
    carry()

    assert len(ask(client, "messages", tenant).json()["messages"]) == 1


DOORS = [
    ("get", "messages"),
    ("post", "messages/1/read"),
    ("post", "messages/read"),
    ("get", "message-permits"),
    ("post", "message-permits"),
    ("get", "message-preferences"),
    ("put", "message-preferences"),
    ("get", "homes/1/alert-level"),
    ("put", "homes/1/alert-level"),
]


@pytest.mark.parametrize(("method", "path"), DOORS)
def test_without_a_login_that_holds_there_is_nothing(client, tenant, method, path):
    header = makers.a_login(tenant)
    AccessToken.objects.update(created_at=timezone.now() - timedelta(days=2), expires_at=timezone.now())

    for headers in ({}, header):
        call = getattr(client, method)
        assert call(f"/api/v1/{path}", {}, content_type="application/json", headers=headers).status_code == 401


def test_a_removed_member_keeps_the_inbox_and_loses_the_home(client, home, tenant):
    home.members.update(left_at=timezone.now() - timedelta(days=1))

    assert ask(client, "messages", tenant).status_code == 200
    assert ask(client, f"homes/{home.pk}/alert-level", tenant).status_code == 404
    assert send(client, f"homes/{home.pk}/alert-level", tenant, {"yuan": "3"}, method="put").status_code == 404


@pytest.mark.parametrize("before", ["x", "-1", "1.5", "9" * 30, "9" * 3000, "٣"])
def test_a_place_that_is_none_is_refused(client, tenant, before):
    assert ask(client, "messages", tenant, before=before).status_code == 400


# ---- permits ----


@pytest.fixture
def mini(tenant: User, settings: LazySettings) -> dict[str, str]:
    settings.WECHAT_MINI_APP_ID = "wxsandboxmini"
    a_template(channel=Channel.WECHAT_SUBSCRIBE, template_id=MINI)
    a_template("recharge_received", channel=Channel.WECHAT_SUBSCRIBE, template_id="tmpl-paid")
    return makers.a_login(tenant, identity=makers.an_identity(user=tenant))


def prompted(*, key: str = "prompt-0001", **outcomes: str) -> dict[str, object]:
    return {"reported_as": key, "outcomes": {name.replace("_", "-"): what for name, what in outcomes.items()}}


def test_a_permit_is_counted_once_however_often_it_is_reported(client, mini):
    for _ in range(3):
        told = send(client, "message-permits", mini, prompted(tmpl_low="accept", tmpl_paid="reject"))

    left = {one["template_id"]: one["left"] for one in told.json()["templates"]}
    assert left == {MINI: 1, "tmpl-paid": 0}


def test_what_is_serious_and_short_is_asked_for_next(client, mini):
    assert ask(client, "message-permits", mini).json()["ask_next"] == [MINI, "tmpl-paid"]


def test_templates_that_are_not_ours_are_passed_over(client, mini):
    told = send(client, "message-permits", mini, prompted(somebody_elses="accept"))

    assert (told.status_code, Permit.objects.count()) == (200, 0)


def test_a_ban_ends_what_was_left(client, mini):
    send(client, "message-permits", mini, prompted(tmpl_low="accept"))

    send(client, "message-permits", mini, prompted(key="prompt-0002", tmpl_low="ban"))

    assert not Permit.objects.filter(ended_at=None).exists()


def test_a_ban_that_is_told_again_does_not_end_what_was_allowed_after_it(client, mini):
    banned = prompted(key="prompt-0001", tmpl_low="ban")
    send(client, "message-permits", mini, banned)
    send(client, "message-permits", mini, prompted(key="prompt-0002", tmpl_low="accept"))

    send(client, "message-permits", mini, banned)

    assert Permit.objects.filter(ended_at=None).count() == 1


def test_nobody_piles_up_permits_without_end(client, mini):
    for n in range(25):
        send(client, "message-permits", mini, prompted(key=f"prompt-{n:04d}", tmpl_low="accept"))

    assert Permit.objects.count() == permits.AT_MOST


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"reported_as": "short", "outcomes": {MINI: "accept"}},
        {"reported_as": "prompt-0001", "outcomes": {}},
        {"reported_as": "prompt-0001", "outcomes": {MINI: "perhaps"}},
        {"reported_as": "prompt-0001", "outcomes": {f"t{n}": "accept" for n in range(4)}},
        {"reported_as": "prompt-0001", "outcomes": [MINI]},
    ],
    ids=str,
)
def test_a_report_that_cannot_be_read_changes_nothing(client, mini, content):
    assert send(client, "message-permits", mini, content).status_code == 400
    assert Permit.objects.count() == 0


def test_permits_are_of_the_mini_program_alone(client, tenant):
    alipay = makers.a_login(tenant, identity=makers.an_identity(user=tenant, provider="alipay"))

    for login in (alipay, makers.a_login(tenant)):
        assert ask(client, "message-permits", login).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_the_same_report_twenty_times_at_once_is_one_permit():
    a_template(channel=Channel.WECHAT_SUBSCRIBE, template_id=MINI)
    identity = makers.an_identity()

    def report() -> int:
        return permits.report(
            identity=Identity.objects.get(pk=identity.pk), outcomes={MINI: "accept"}, reported_as="prompt-0001",
            now=timezone.now(),
        )  # fmt: skip

    race([report] * 20)

    assert Permit.objects.count() == 1


# ---- preferences ----

USUAL = {"off_kinds": [], "quiet_from": "22:00", "quiet_until": "08:00", "language": "zh-hans"}


def test_the_usual_preferences_are_told_without_any_having_been_wished_for(client, tenant):
    told = ask(client, "message-preferences", tenant).json()

    assert (told["quiet_from"], told["quiet_until"], told["language"]) == ("22:00", "08:00", "zh-hans")
    kinds = {one["kind"]: one for one in told["kinds"]}
    assert kinds["cut_notice"]["is_compulsory"] is True
    assert kinds["monthly_bill"] == {
        "kind": "monthly_bill", "title": "Monthly bill", "is_compulsory": False, "is_on": True,
    }  # fmt: skip
    assert "daily_summary" not in kinds


def test_what_was_switched_off_is_not_told(client, home, tenant):
    wished = USUAL | {"off_kinds": ["recharge_received"], "quiet_from": "00:00", "quiet_until": "00:00"}
    assert send(client, "message-preferences", tenant, wished, method="put").status_code == 200

    leave(home, kind="recharge_received", amount_fen=1)
    leave(home)
    carry()

    assert [one["kind"] for one in ask(client, "messages", tenant).json()["messages"]] == ["low_balance"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"off_kinds": ["cut_notice"]},
        {"off_kinds": ["no_such_kind"]},
        {"off_kinds": ["daily_summary"]},
        {"quiet_from": "24:00"},
        {"quiet_from": "8:00"},
        {"quiet_until": "08:60"},
        {"language": "fr"},
    ],
    ids=str,
)
def test_a_wish_that_cannot_be_met_is_refused_and_changes_nothing(client, tenant, wrong):
    answer = send(client, "message-preferences", tenant, USUAL | wrong, method="put")

    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert not Preference.objects.exists()


# ---- the link ----


def path_of(url: str) -> str:
    return url.removeprefix("http://127.0.0.1:8000")


def test_a_link_says_what_it_will_do_and_does_it_when_it_is_told_to(client, tenant):
    url = path_of(links.off_url(user_id=tenant.pk, kind="monthly_bill"))

    page = client.get(url, headers={"Accept-Language": "en"})
    assert "Monthly bill" in page.content.decode()
    assert not Preference.objects.exists()  # a preview of the link must not do it
    for _ in range(2):
        done = client.post(url, headers={"Accept-Language": "en"})
        assert "not told of this any more" in done.content.decode()

    assert Preference.objects.get().off_kinds == ["monthly_bill"]


def test_there_is_no_link_for_what_is_compulsory(tenant):
    assert links.off_url(user_id=tenant.pk, kind="cut_notice") == ""


def test_a_link_ends_after_a_year(client, tenant, monkeypatch):
    url = path_of(links.off_url(user_id=tenant.pk, kind="monthly_bill"))
    monkeypatch.setattr(links, "VALID_FOR", timedelta(seconds=-1))  # as if a year had gone by

    assert client.post(url).status_code == 404
    assert not Preference.objects.exists()


def test_a_forged_link_leads_nowhere(client, tenant):
    url = path_of(links.off_url(user_id=tenant.pk, kind="monthly_bill"))

    forged = client.post(url[:-3] + "x/")

    assert forged.status_code == 404
    assert not Preference.objects.exists()


# ---- a level of one's own ----


def test_the_holder_says_below_what_the_home_is_warned(client, home, tenant):
    path = f"homes/{home.pk}/alert-level"

    told = send(client, path, tenant, {"yuan": "30"}, method="put")

    assert (told.json(), ask(client, path, tenant).json()) == ({"yuan": "30.00"}, {"yuan": "30.00"})
    assert send(client, path, tenant, {"yuan": None}, method="put").json() == {"yuan": None}


def test_a_sharer_sees_the_level_and_does_not_set_it(client, home):
    sharer = makers.a_user()
    home.members.create(user=sharer, role="sharer", joined_at=makers.LONG_AGO)

    assert ask(client, f"homes/{home.pk}/alert-level", sharer).json() == {"yuan": None}
    assert send(client, f"homes/{home.pk}/alert-level", sharer, {"yuan": "30"}, method="put").status_code == 403


def test_the_level_of_another_home_does_not_exist(client, home):
    neighbour = makers.a_tenancy(holder=makers.a_user()).members.get().user

    assert ask(client, f"homes/{home.pk}/alert-level", neighbour).status_code == 404
    assert send(client, f"homes/{home.pk}/alert-level", neighbour, {"yuan": "3"}, method="put").status_code == 404


@pytest.mark.parametrize("yuan", ["", "x", "-5", "0", "1.234", "99999999"])
def test_a_level_that_is_no_amount_is_refused(client, home, tenant, yuan):
    assert send(client, f"homes/{home.pk}/alert-level", tenant, {"yuan": yuan}, method="put").status_code == 400


def test_an_inbox_without_news_is_answered_without_a_body(client, home, tenant):
    login = makers.a_login(tenant)
    leave(home, key="one")
    carry()
    first = ask(client, "messages", login)
    known = login | {"If-None-Match": first.headers["ETag"]}

    again = ask(client, "messages", known)
    leave(home, key="two", kind="recharge_received", amount_fen=5000)
    carry()

    assert (again.status_code, again.content) == (304, b"")
    assert ask(client, "messages", known).status_code == 200
