"""The doctor's look at merchants' keys: what is wrong is named, with how to mend it, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from django.utils import timezone

from config.merchant_keys import merchant_keys
from payments.models import Merchant, Payment, ProviderKey
from tests import makers
from tests.desk import a_suspended_payment
from tests.payments.conftest import alipay_merchant, wechat_merchant

pytestmark = pytest.mark.django_db
YEAR = timedelta(days=366)


def found():
    return list(merchant_keys(timezone.now()))


def whats() -> list[str]:
    return [ailment.what for ailment in found()]


def test_good_keys_are_no_ailment(world):
    wechat_merchant(world, makers.a_property())

    assert whats() == []


def test_a_key_that_is_not_there_is_named(world):
    wechat_merchant(world, makers.a_property())
    Merchant.objects.update(private_key_ref="env:NOT_THERE")

    (only,) = whats()

    assert "NOT_THERE" in only


def test_a_certificate_that_runs_out_soon_is_a_warning(world):
    wechat_merchant(world, makers.a_property())
    ProviderKey.objects.filter(kind="certificate").update(ends_at=timezone.now() + timedelta(days=3))

    (only,) = found()

    assert only.is_warning
    assert "runs out" in only.what


def test_a_merchant_without_its_providers_key_is_named(world):
    wechat_merchant(world, makers.a_property())
    ProviderKey.objects.all().delete()

    assert whats() == ["has no key of its provider"]


@pytest.fixture
def merchant(world) -> Merchant:
    """A WeChat merchant with its own certificate, all in order."""
    facts = world.info["wechat"]["direct"]
    return wechat_merchant(world, makers.a_property(), certificate_ref=f"file:{facts['cert_file']}")


def serial_of(path) -> str:
    return f"{x509.load_pem_x509_certificate(Path(path).read_bytes()).serial_number:X}"


def test_a_merchant_in_order_with_its_certificate_is_no_ailment(merchant):
    assert whats() == []


def test_an_alipay_merchant_in_order_is_no_ailment_in_either_mode(world):
    alipay_merchant(world, makers.a_property())
    alipay_merchant(world, makers.a_property(), which="certificate")

    assert whats() == []


@pytest.mark.parametrize("length", [16, 31, 33])
def test_an_apiv3_key_of_a_wrong_length_is_named_and_not_shown(merchant, tmp_path, length):
    key = tmp_path / "apiv3"
    key.write_text("k" * length)
    Merchant.objects.update(api_key_ref=f"file:{key}")

    (only,) = found()

    assert only.what == f"its APIv3 key has {length} bytes and not 32"
    assert "kkk" not in str(only)
    assert not only.is_warning


def test_an_entered_serial_that_is_not_the_certificates_is_named_with_the_right_one(merchant, world):
    Merchant.objects.update(certificate_serial="3775B6A45ACD588826D15E583A95F5DD********")

    (only,) = found()

    assert serial_of(world.info["wechat"]["direct"]["cert_file"]) in only.what
    assert not only.is_warning


def test_a_serial_in_small_letters_or_with_zeros_in_front_is_the_same(merchant):
    Merchant.objects.update(certificate_serial="00" + merchant.certificate_serial.lower())

    assert whats() == []


def test_without_certificate_and_serial_wechat_would_not_know_us(world):
    wechat_merchant(world, makers.a_property())
    Merchant.objects.update(certificate_serial="")

    assert whats() == ["has no serial of its own certificate"]


def test_a_certificate_of_another_key_is_named(merchant, world):
    other = world.info["wechat"]["partner"]["cert_file"]
    Merchant.objects.update(certificate_ref=f"file:{other}", certificate_serial=serial_of(other))

    assert whats() == ["certificate and private key do not belong together"]


@pytest.mark.parametrize("ref", ["file:/nowhere/cert.pem", "env:NOT_THERE"])
def test_a_certificate_that_is_not_there_is_named(merchant, ref):
    Merchant.objects.update(certificate_ref=ref)

    (only,) = found()

    assert only.what.startswith("its own certificate: ")


def test_a_file_that_is_no_certificate_is_named(merchant, world):
    Merchant.objects.update(certificate_ref=f"file:{world.info['wechat']['direct']['key_file']}")

    (only,) = found()

    assert "its own certificate: not a certificate" in only.what


class TestDates:
    def test_a_providers_certificate_that_is_not_good_yet_is_a_warning(self, merchant):
        ProviderKey.objects.filter(kind="certificate").update(starts_at=timezone.now() + timedelta(days=3))

        (only,) = found()

        assert only.is_warning
        assert "is not good before" in only.what

    def test_our_own_that_is_not_good_yet_fails(self, merchant):
        (only,) = [one for one in merchant_keys(timezone.now() - 50 * YEAR) if "its own certificate" in one.what]

        assert not only.is_warning
        assert "is not good before" in only.what

    def test_what_has_run_out_is_a_warning_of_theirs_and_fails_of_ours(self, merchant):
        ailments = {one.what: one.is_warning for one in merchant_keys(timezone.now() + 50 * YEAR)}

        assert ailments.pop("its own certificate has run out") is False
        assert set(ailments.values()) == {True}

    def test_a_public_key_with_an_end_is_watched_as_well(self, merchant):
        ProviderKey.objects.filter(kind="public_key").update(ends_at=timezone.now() + timedelta(days=3))

        (only,) = found()

        assert "runs out on" in only.what


class TestKinds:
    def test_alipay_without_a_key_of_its_mode_fails(self, world):
        merchant = alipay_merchant(world, makers.a_property(), which="certificate")
        pem = Path(world.info["alipay"]["key"]["alipay_public_key_file"]).read_text()
        merchant.provider_keys.update(kind="public_key", serial="key", pem=pem)

        (only,) = found()

        assert only.what == "is set to certificate, and has no such key of its provider"
        assert not only.is_warning

    def test_wechat_that_signs_with_the_other_kind_is_a_warning(self, merchant):
        merchant.provider_keys.filter(kind="public_key").delete()

        (only,) = found()

        assert only.what == "is set to public key, and has no such key of its provider"
        assert only.is_warning

    def test_wechats_certificates_are_fetched_by_the_chaser(self, merchant):
        Merchant.objects.update(key_mode="certificate")
        merchant.provider_keys.all().delete()

        (only,) = found()

        assert "chaser" in only.cure
        assert only.is_warning

    def test_a_key_that_is_entered_as_what_it_is_not_is_named(self, merchant):
        key = merchant.provider_keys.get(kind="certificate")
        ProviderKey.objects.filter(pk=key.pk).update(kind="public_key")

        assert f"key {key.serial} is entered as a public key and is none" in whats()


class TestRetired:
    def test_one_without_a_payment_of_the_last_year_is_passed_over(self, merchant):
        a_suspended_payment(None, merchant=merchant, paid_at=timezone.now() - YEAR)
        Merchant.objects.update(retired_at=timezone.now(), private_key_ref="env:NOT_THERE")

        assert found() == []

    def test_one_whose_refunds_may_still_come_is_warned_about(self, merchant):
        a_suspended_payment(None, merchant=merchant)
        Merchant.objects.update(retired_at=timezone.now(), private_key_ref="env:NOT_THERE")

        (only,) = found()

        assert only.is_warning
        assert only.where == f"merchant {merchant.slug} (retired, its refunds may still come)"
        assert Payment.objects.count() == 1
