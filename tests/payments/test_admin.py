"""The counter, its corrections, and money moved out of suspense: by hand, with a reason that is kept."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from billing.models import JournalEntry
from payments import counter
from payments.capitals import in_capitals
from payments.models import CounterReceipt, Payment, RechargeLimits
from tests import makers
from tests.desk import a_suspended_payment, address, at_work, do, staff_of, told

pytestmark = pytest.mark.django_db


@pytest.fixture
def place():
    return makers.a_property(name="滨江花园")


@pytest.fixture
def home(place):
    return makers.a_tenancy(room=makers.a_room(place=place), holder=makers.a_user(name="王小明", phone="13812345678"))


@pytest.fixture
def clerk(place):
    return at_work(staff_of(place, "service"))


@pytest.fixture
def accountant(place):
    return at_work(staff_of(place, "finance"))


def fill_in(client, home, *, amount="50", **answers):
    """The counter's form as the browser sends it after "continue" was read and found right."""
    page = client.get(address(CounterReceipt, "add"))
    form_key = page.context["form"]["form_key"].value()
    return {"form_key": form_key, "tenancy": home.pk, "amount": amount, "means": "cash", "_right": "1"} | answers


def recharge(client, home, **answers):
    return client.post(address(CounterReceipt, "add"), fill_in(client, home, **answers), follow=True)


class TestCounter:
    def test_it_asks_whether_all_is_right_before_it_takes_money(self, clerk, home):
        answers = fill_in(clerk, home)
        del answers["_right"]

        page = clerk.post(address(CounterReceipt, "add"), answers).content.decode()

        assert not CounterReceipt.objects.exists()
        assert "¥50.00" in page
        assert "伍拾元整" in page
        assert "王小明 138****5678" in page

    def test_it_says_when_an_amount_is_more_than_tenants_may_recharge(self, clerk, home):
        RechargeLimits.objects.create(property=home.property, at_most_fen=10_000)
        answers = fill_in(clerk, home, amount="5000")
        del answers["_right"]

        page = clerk.post(address(CounterReceipt, "add"), answers)

        assert "more than tenants may recharge at once (¥100.00)" in page.content.decode()

    def test_it_credits_the_purse_and_shows_a_receipt_to_print(self, clerk, home):
        page = recharge(clerk, home, note="王小明付").content.decode()

        receipt = CounterReceipt.objects.get()
        assert (home.purse.paid_fen, receipt.taken_by.name) == (5000, "service of 滨江花园")
        for shown in (receipt.number, "滨江花园", str(home.room), "¥50.00", "人民币伍拾元整", "service of", "王小明付"):
            assert shown in page
        assert receipt.number == f"{home.property.code}-000001"
        assert (receipt.means, receipt.payer) == ("cash", "王小明")  # nobody else was named
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", page)
        assert "50.00" in LogEntry.objects.get().change_message

    def test_the_receipt_says_how_the_money_came_and_from_whom(self, clerk, home):
        page = recharge(clerk, home, means="bank_transfer", payer="Company of his").content.decode()

        receipt = CounterReceipt.objects.get()
        assert (receipt.means, receipt.payer) == ("bank_transfer", "Company of his")
        assert "bank transfer" in page
        assert "Company of his" in page
        entry = JournalEntry.objects.get(key=f"counter:{receipt.pk}")
        assert str(entry.transfers.first().debit) == f"money at a provider property:{home.property_id}:bank_transfer"

    def test_the_clerk_is_told_that_it_was_taken(self, clerk, home):
        assert told(recharge(clerk, home)) == "¥50.00 taken at the counter."

    def test_the_same_form_sent_twice_takes_money_once(self, clerk, home):
        answers = fill_in(clerk, home)

        first, second = (clerk.post(address(CounterReceipt, "add"), answers) for _each in range(2))

        assert first["Location"] == second["Location"]
        assert (CounterReceipt.objects.count(), LogEntry.objects.count(), home.purse.paid_fen) == (1, 1, 5000)

    def test_the_same_form_with_another_amount_is_refused_in_the_page(self, clerk, home):
        answers = fill_in(clerk, home)
        clerk.post(address(CounterReceipt, "add"), answers)

        page = clerk.post(address(CounterReceipt, "add"), answers | {"amount": "60"})

        assert "This form was sent before with other contents" in page.content.decode()
        assert home.purse.paid_fen == 5000

    @pytest.mark.parametrize("amount", ["0", "-5", "1.234", "fifty", "", "5e3", "99999999999"])
    def test_what_is_no_amount_is_refused_in_the_page(self, clerk, home, amount):
        page = recharge(clerk, home, amount=amount)

        assert (page.status_code, bool(page.context["form"].errors["amount"])) == (200, True)
        assert not CounterReceipt.objects.exists()

    def test_who_moved_out_is_refused(self, clerk, home):
        home.ends_at = timezone.now()
        home.save(update_fields=["ends_at"])

        assert "Nobody lives there now" in recharge(clerk, home).content.decode()

    def test_another_propertys_home_is_no_choice(self, clerk):
        page = recharge(clerk, makers.a_tenancy())

        assert "tenancy" in page.context["form"].errors
        assert not CounterReceipt.objects.exists()

    def test_of_two_meters_that_hold_money_one_is_chosen(self, clerk, home):
        first, second = (makers.a_meter(room=home.room, held_by="meter") for _each in range(2))

        asked = recharge(clerk, home)
        refused = recharge(clerk, home, meter=makers.a_meter(place=home.property, held_by="meter").pk)
        recharge(clerk, home, meter=second.pk)

        assert "Choose the one to recharge" in asked.content.decode()
        assert "does not hang in this home" in refused.content.decode()
        assert (first.top_ups.count(), second.top_ups.count()) == (0, 1)

    def test_the_accountant_takes_no_money(self, accountant):
        assert accountant.get(address(CounterReceipt, "add")).status_code == 403

    def test_a_receipt_of_another_property_is_not_printed(self, clerk, home):
        recharge(clerk, home)
        number = CounterReceipt.objects.get().pk
        elsewhere = at_work(staff_of(makers.a_property()))

        assert clerk.get(f"/admin/payments/counterreceipt/{number}/print/").status_code == 200
        assert elsewhere.get(f"/admin/payments/counterreceipt/{number}/print/").status_code == 404


class TestCorrection:
    @pytest.fixture
    def receipt(self, clerk, home):
        recharge(clerk, home)
        return CounterReceipt.objects.get()

    def test_it_is_asked_for_a_reason_first(self, accountant, receipt):
        answers = {"action": "correct", "_selected_action": receipt.pk}
        page = accountant.post(address(CounterReceipt, "changelist"), answers)

        receipt.refresh_from_db()
        assert receipt.corrected_at is None
        assert receipt.number in page.content.decode()

    def test_it_takes_the_money_back_and_keeps_the_reason(self, accountant, receipt, home):
        page = do(accountant, "correct", [receipt], reason="wrong room")

        home.purse.refresh_from_db()
        receipt.refresh_from_db()
        assert "¥50.00 taken back" in told(page)
        assert (home.purse.paid_fen, receipt.correction_reason) == (0, "wrong room")
        assert "wrong room" in LogEntry.objects.latest("pk").change_message
        assert JournalEntry.objects.latest("pk").reason == "wrong room"
        printed = accountant.get(f"/admin/payments/counterreceipt/{receipt.pk}/print/").content.decode()
        assert "Void" in printed

    def test_a_second_one_is_refused_in_the_page(self, accountant, receipt):
        do(accountant, "correct", [receipt], reason="wrong room")

        page = do(accountant, "correct", [receipt], reason="again")

        assert (page.status_code, "corrected before" in told(page)) == (200, True)

    @pytest.mark.parametrize("reason", ["", "   "])
    def test_without_a_reason_nothing_is_done(self, accountant, receipt, reason):
        do(accountant, "correct", [receipt], reason=reason)

        receipt.refresh_from_db()
        assert receipt.corrected_at is None

    def test_the_desk_does_not_correct_itself(self, clerk, receipt):
        do(clerk, "correct", [receipt], reason="mine")

        receipt.refresh_from_db()
        assert receipt.corrected_at is None

    def test_several_at_once_are_not_corrected(self, accountant, clerk, receipt, home):
        recharge(clerk, home)

        page = do(accountant, "correct", CounterReceipt.objects.all(), reason="all")

        assert "one at a time" in told(page)
        assert not CounterReceipt.objects.filter(corrected_at__isnull=False).exists()


class TestSuspense:
    @pytest.fixture
    def payment(self, place):
        return a_suspended_payment(place, merchant=makers.a_merchant(place=place))

    def test_the_accountant_moves_it_to_a_home(self, accountant, payment, home):
        page = do(accountant, "move_to_purse", [payment], tenancy=home.pk, reason="he showed his bill")

        payment.refresh_from_db()
        assert "¥50.00 moved to" in told(page)
        assert (payment.state, home.purse.paid_fen) == ("credited", 5000)
        assert "he showed his bill" in LogEntry.objects.get().change_message

    def test_the_home_it_was_ordered_for_is_proposed(self, accountant, place, home):
        order = makers.an_order(purse=makers.a_purse(tenancy=home))
        payment = a_suspended_payment(place, merchant=makers.a_merchant(place=place), order=order)

        answers = {"action": "move_to_purse", "_selected_action": payment.pk}
        page = accountant.post(address(Payment, "changelist"), answers)

        assert page.context["form"]["tenancy"].value() == home.pk
        assert f'<option value="{home.pk}" selected>' in page.content.decode()

    def test_a_second_time_is_refused_in_the_page(self, accountant, payment, home):
        do(accountant, "move_to_purse", [payment], tenancy=home.pk, reason="his")

        page = do(accountant, "move_to_purse", [payment], tenancy=home.pk, reason="his")

        assert "not in suspense" in told(page)
        assert home.purse.paid_fen == 5000

    def test_a_home_elsewhere_is_no_choice(self, place, payment):
        elsewhere = makers.a_tenancy()
        client = at_work(staff_of(place, "manager"))

        page = do(client, "move_to_purse", [payment], tenancy=elsewhere.pk, reason="x")

        assert "tenancy" in page.context["form"].errors
        assert Payment.objects.get().state == "suspended"

    def test_a_home_for_which_the_merchant_takes_no_money_is_no_choice(self, payment):
        root = at_work(makers.a_user(is_staff=True, is_superuser=True))

        do(root, "move_to_purse", [payment], tenancy=makers.a_tenancy().pk, reason="x")

        assert Payment.objects.get().state == "suspended"

    def test_the_desk_does_not(self, clerk, payment, home):
        do(clerk, "move_to_purse", [payment], tenancy=home.pk, reason="x")

        assert Payment.objects.get().state == "suspended"


class TestMerchants:
    def test_names_of_keys_are_the_operators_alone(self, place):
        merchant = makers.a_merchant(place=place, private_key_ref="file:/etc/keys/private.pem")
        root = makers.a_user(is_staff=True, is_superuser=True)

        assert "/etc/keys" not in at_work(staff_of(place)).get(address(merchant, "change")).content.decode()
        assert "/etc/keys" in at_work(root).get(address(merchant, "change")).content.decode()

    def test_a_merchant_that_breaks_a_rule_is_refused_in_words(self):
        merchant = makers.a_merchant()
        root = at_work(makers.a_user(is_staff=True, is_superuser=True))

        page = root.post(
            address(merchant, "change"),
            {"name": "x", "mode": "partner", "account": "1", "app_id": "a", "key_mode": "public_key"}
            | {"private_key_ref": "env:KEY", "api_key_ref": "env:KEY"},
        )

        assert page.content.decode().count("names its sub-merchant") == 1
        assert "is violated" not in page.content.decode()


class TestLimits:
    def test_they_are_written_in_yuan(self, place):
        client = at_work(staff_of(place))

        client.post(
            address(RechargeLimits, "add"), {"property": place.pk, "at_least_fen": "1.50", "at_most_fen": "2000"}
        )

        limits = RechargeLimits.objects.get()
        assert (limits.at_least_fen, limits.at_most_fen) == (150, 200_000)
        assert 'value="1.50"' in client.get(address(limits, "change")).content.decode()

    @pytest.mark.parametrize(("least", "most"), [("5", "4"), ("0", "4"), ("x", "4"), ("0.001", "4")])
    def test_limits_that_leave_no_room_are_refused_in_the_page(self, place, least, most):
        page = at_work(staff_of(place)).post(
            address(RechargeLimits, "add"), {"property": place.pk, "at_least_fen": least, "at_most_fen": most}
        )

        assert (page.status_code, RechargeLimits.objects.exists()) == (200, False)


def test_the_body_of_an_event_is_not_shown(place):
    from payments.models import ProviderEvent

    event = ProviderEvent.objects.create(
        merchant=makers.a_merchant(place=place), provider="wechat", event_id="e", is_verified=True,
        body=b"the whole body", body_sha256="f" * 64, trace="t", received_at=timezone.now(),
    )  # fmt: skip

    page = at_work(staff_of(place)).get(address(event, "change")).content.decode()

    assert "f" * 64 in page
    assert "the whole body" not in page


def test_a_receipt_is_kept_whoever_took_it(clerk, home):
    """The clerk's name is the login's, not what a form says."""
    recharge(clerk, home, taken_by="somebody else")

    assert counter.CounterReceipt.objects.get().taken_by.name.startswith("service of")


@pytest.mark.parametrize(
    ("fen", "said"),
    [
        (0, "零元整"),
        (1, "壹分"),
        (10, "壹角整"),
        (105, "壹元零伍分"),
        (5000, "伍拾元整"),
        (100_520, "壹仟零伍元贰角整"),
        (140_950, "壹仟肆佰零玖元伍角整"),
        (600_714, "陆仟零柒元壹角肆分"),
        (10_700_053, "壹拾万零柒仟元伍角叁分"),
        (1_000_000_00, "壹佰万元整"),
        (1_000_500_00, "壹佰万零伍佰元整"),
        (10_000_001_00, "壹仟万零壹元整"),
        (100_000_001_00, "壹亿零壹元整"),
        (123_456_789_12, "壹亿贰仟叁佰肆拾伍万陆仟柒佰捌拾玖元壹角贰分"),
    ],
)
def test_an_amount_is_written_in_capitals(fen, said):
    assert in_capitals(fen) == said


@pytest.mark.parametrize("fen", [-1, 10**18])
def test_what_no_receipt_could_show_has_no_capitals(fen):
    with pytest.raises(ValueError, match="receipt"):
        in_capitals(fen)
