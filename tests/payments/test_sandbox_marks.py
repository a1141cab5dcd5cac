"""What the sandbox makes is known by its marks, and nobody else's is."""

from __future__ import annotations

from pathlib import Path

import pytest

from payments import sandbox_marks
from sandbox.keys import make_world
from tests.vendors import certificate_pem, private_pem, public_pem, rsa_key


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def ids_of(world):
    for merchant in (world["wechat"][name] for name in ("direct", "other", "partner")):
        yield from (merchant[key] for key in ("mchid", "appid", "public_key_id", "sub_mchid") if key in merchant)
    for app in (world["alipay"][name] for name in ("key", "other", "certificate")):
        yield from (app["app_id"], app["seller_id"])


def test_every_id_of_the_box_is_known(world):
    for name in ids_of(world):
        assert name in sandbox_marks.first_of(ids=["wx0123456789abcdef", name])


def test_every_secret_and_certificate_of_the_box_is_known_and_not_repeated(world):
    for merchant in (world["wechat"][name] for name in ("direct", "other", "partner")):
        secret = Path(merchant["apiv3_key_file"]).read_text()
        assert sandbox_marks.first_of(secrets=[secret]) == "a key is a sandbox's"
        assert sandbox_marks.first_of(pems=[Path(merchant["cert_file"]).read_text()])
    for app in world["wechat"]["apps"].values():
        assert sandbox_marks.first_of(secrets=[Path(app["secret_file"]).read_text()])
    for platform in world["wechat"]["platform"]:
        assert sandbox_marks.first_of(pems=[Path(platform["cert_file"]).read_text()])
    for name in ("app_cert_file", "alipay_cert_file", "root_cert_file"):
        assert sandbox_marks.first_of(pems=[Path(world["alipay"]["certificate"][name]).read_text()])


def test_nobody_elses_are_taken_for_it():
    key = rsa_key("a merchant")

    assert not sandbox_marks.first_of(
        ids=["", "wx0123456789abcdef", "1600000109", "2088102175000000", "2021001100000000", "PUB_KEY_ID_01160000"],
        secrets=["0123456789abcdef0123456789ABCDEF", private_pem(key)],
        pems=[certificate_pem(key), public_pem(key), "not a key at all", "-----BEGIN CERTIFICATE-----\nnor this"],
    )
