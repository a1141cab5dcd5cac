"""Merchants whose keys are those of the sandbox's world, so that genuine callbacks can be signed in the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accounts.models import Property
from payments import merchants
from payments.models import Merchant, ProviderKey
from sandbox.world import World, load_world
from tests import makers


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return load_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _keys_are_read_afresh() -> None:
    """Tests share slugs and not keys: nothing may be kept from the test before."""
    merchants.forget()


def wechat_merchant(world: World, place: Property, *, which: str = "direct", **kwargs: Any) -> Merchant:
    """A merchant of this property with the sandbox's keys; WeChat may sign with its public key or its certificates."""
    facts = world.info["wechat"][which]
    merchant = makers.a_merchant(
        provider="wechat",
        place=place,
        account=facts["mchid"],
        app_id=kwargs.pop("app_id", facts["appid"]),  # one account takes money in several apps
        mode=facts["mode"],
        sub_account=facts.get("sub_mchid", ""),
        sub_app_id=facts.get("sub_appid", ""),
        private_key_ref=f"file:{facts['key_file']}",
        api_key_ref=f"file:{facts['apiv3_key_file']}",
        certificate_serial=facts["serial"],
        **kwargs,
    )
    ProviderKey.objects.create(
        merchant=merchant,
        kind="public_key",
        serial=facts["public_key_id"],
        pem=Path(facts["public_key_file"]).read_text(),
    )
    today = world.info["wechat"]["platform"][0]
    ProviderKey.objects.create(
        merchant=merchant, kind="certificate", serial=today["serial"], pem=Path(today["cert_file"]).read_text()
    )
    return merchant


def alipay_merchant(world: World, place: Property, *, which: str = "key", **kwargs: Any) -> Merchant:
    """A merchant of this property with the sandbox's Alipay keys, in key or certificate mode."""
    facts = world.info["alipay"][which]
    in_certificates = facts["mode"] == "certificate"
    merchant = makers.a_merchant(
        provider="alipay",
        place=place,
        account=facts["seller_id"],
        app_id=facts["app_id"],
        key_mode="certificate" if in_certificates else "public_key",
        private_key_ref=f"file:{facts['app_private_key_file']}",
        certificate_ref=f"file:{facts['app_cert_file']}" if in_certificates else "",
        root_certificate_ref=f"file:{facts['root_cert_file']}" if in_certificates else "",
        **kwargs,
    )
    name, serial = (
        ("alipay_cert_file", facts.get("alipay_cert_sn")) if in_certificates else ("alipay_public_key_file", "key")
    )
    ProviderKey.objects.create(
        merchant=merchant,
        kind="certificate" if in_certificates else "public_key",
        serial=serial,
        pem=Path(facts[name]).read_text(),
    )
    return merchant
