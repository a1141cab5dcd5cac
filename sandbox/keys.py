"""All key material of the world in a box, made once in a folder: the vendors' keys and the merchants'.

Everything is marked so that a production setting can refuse it: appids begin with `wxsandbox`, WeChat's public key ids
and APIv3 keys contain `SANDBOX`, app secrets begin with `sandbox`, certificates have the organization
`meterpay sandbox`, merchant numbers and Alipay app ids are the fixed ones below.
"""

import fcntl
import json
import secrets
import string
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox import certificates

MINI_APPID = "wxsandbox000000001"
OTHER_APPID = "wxsandbox000000002"
PARTNER_APPID = "wxsandbox000000009"
OFFICIAL_APPID = "wxsandbox000000005"  # the official account (公众号)
MCHIDS = {"direct": "1900000109", "other": "1900000209", "partner": "1900000309"}
SUB_MCHID = "1900000409"
ALIPAY_APP_IDS = {"key": "9021000000000001", "certificate": "9021000000000002", "other": "9021000000000003"}
SELLER_IDS = {"key": "2088000000000101", "certificate": "2088000000000101", "other": "2088000000000202"}
FIVE_YEARS_DAYS = 1825


def make_world(folder: Path) -> dict[str, Any]:
    """Writes what is missing of the world's keys and `world.json`, and returns what `world.json` says.

    Paths (keys ending in `_file`) are absolute. Safe to call from several processes at once, and again: keys that are
    there stay. The keys of the result are listed in `sandbox/README.md`.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        world = {"sandbox": True, "wechat": _wechat(folder), "alipay": _alipay(folder), "foreign": _foreign(folder)}
        world["sms"] = _sms(folder)
        draft = folder / "world.json.new"
        draft.write_text(json.dumps(world, indent=1))
        draft.replace(folder / "world.json")
    return world


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wechat(folder: Path) -> dict[str, Any]:
    direct = _wechat_merchant(folder, "direct") | {"appid": MINI_APPID}
    other = _wechat_merchant(folder, "other") | {"appid": OTHER_APPID}
    partner = _wechat_merchant(folder, "partner") | {
        "mode": "partner",
        "appid": PARTNER_APPID,
        "sub_mchid": SUB_MCHID,
        "sub_appid": MINI_APPID,
    }
    appids = (MINI_APPID, OTHER_APPID, PARTNER_APPID, OFFICIAL_APPID)
    return {
        "direct": direct,
        "other": other,
        "partner": partner,
        "platform": [_platform_certificate(folder, "current"), _platform_certificate(folder, "next")],
        "official": {"appid": OFFICIAL_APPID},
        "events": {
            appid: {
                "token_file": _secret(folder, f"{appid}.events", "sandbox", 24),
                "aes_key_file": _secret(folder, f"{appid}.aes", "sandbox", 43),
            }
            for appid in (MINI_APPID, OFFICIAL_APPID)
        },
        "apps": {appid: {"secret_file": _secret(folder, f"{appid}.secret", "sandbox", 32)} for appid in appids},
    }


def _wechat_merchant(folder: Path, name: str) -> dict[str, Any]:
    pair = _certified(folder, f"wechat_{name}", f"merchant {MCHIDS[name]}", issuer="Tenpay sandbox CA")
    platform = folder / f"wechat_{name}_public_key.key.pem"
    certificates.rsa_key(platform)
    return {
        "mode": "direct",
        "mchid": MCHIDS[name],
        "serial": pair["serial"],
        "key_file": pair["key_file"],
        "cert_file": pair["cert_file"],
        "apiv3_key_file": _secret(folder, f"wechat_{name}.apiv3", "SANDBOX", 32),
        "public_key_id": f"PUB_KEY_ID_0{MCHIDS[name]}2026SANDBOX00000000",
        "public_key_file": str(certificates.public_path(platform)),
        "public_key_private_file": str(platform),
    }


def _platform_certificate(folder: Path, name: str) -> dict[str, Any]:
    return _certified(folder, f"wechat_platform_{name}", "Tenpay.com sandbox sign", issuer="Tenpay sandbox CA")


def _alipay(folder: Path) -> dict[str, Any]:
    root = folder / "alipay_root.key.pem"
    root_certs = folder / "alipay_root.cert.pem"
    certificates.root_file(root_certs, key=certificates.rsa_key(root))
    apps: dict[str, Any] = {name: _alipay_app(folder, name) for name in ALIPAY_APP_IDS}
    app = _certified(folder, "alipay_certificate_app", "app of the sandbox", issuer="Sandbox RSA root", signer=root)
    vendor = _certified(folder, "alipay_certificate_vendor", "Alipay sandbox", issuer="Sandbox RSA root", signer=root)
    apps["certificate"] |= {
        "mode": "certificate",
        "app_cert_file": app["cert_file"],
        "alipay_cert_file": vendor["cert_file"],
        "root_cert_file": str(root_certs),
        "app_cert_sn": certificates.alipay_sn(certificates.load(Path(app["cert_file"]))),
        "alipay_cert_sn": certificates.alipay_sn(certificates.load(Path(vendor["cert_file"]))),
        "root_cert_sn": certificates.alipay_root_sn(root_certs),
    }
    return apps


def _alipay_app(folder: Path, name: str) -> dict[str, Any]:
    app, vendor = folder / f"alipay_{name}_app.key.pem", folder / f"alipay_{name}_vendor.key.pem"
    certificates.rsa_key(app)
    certificates.rsa_key(vendor)
    return {
        "mode": "key",
        "app_id": ALIPAY_APP_IDS[name],
        "seller_id": SELLER_IDS[name],
        "app_private_key_file": str(app),
        "app_public_key_file": str(certificates.public_path(app)),
        "alipay_public_key_file": str(certificates.public_path(vendor)),
        "alipay_private_key_file": str(vendor),
    }


def _sms(folder: Path) -> dict[str, Any]:
    return {
        "aliyun": {"key_id": "SANDBOXKEYID", "secret_file": _secret(folder, "aliyun_sms.secret", "sandbox", 30)},
        "tencent": {
            "secret_id": "SANDBOXSECRETID",
            "secret_key_file": _secret(folder, "tencent_sms.secret", "sandbox", 32),
            "app_id": "1400000001",
        },
        "sign_name": "meterpay",
    }


def _foreign(folder: Path) -> dict[str, Any]:
    """Keys of somebody who is neither WeChat nor Alipay nor a merchant: what they sign must never count."""
    return _certified(folder, "foreign", "nobody in particular", issuer="nobody")


def _certified(folder: Path, stem: str, name: str, *, issuer: str, signer: Path | None = None) -> dict[str, Any]:
    key_path, cert_path = folder / f"{stem}.key.pem", folder / f"{stem}.cert.pem"
    key = certificates.rsa_key(key_path)
    signing_key = certificates.rsa_key(signer) if signer else key
    certificates.certificate(cert_path, name=name, key=key, days=FIVE_YEARS_DAYS, issuer=issuer, signer=signing_key)
    cert = certificates.load(cert_path)
    return {
        "serial": certificates.serial_of(cert_path),
        "key_file": str(key_path),
        "cert_file": str(cert_path),
        "not_before": cert.not_valid_before_utc.isoformat(),
        "not_after": cert.not_valid_after_utc.isoformat(),
    }


def _secret(folder: Path, name: str, mark: str, length: int) -> str:
    path = folder / name
    if not path.exists():
        letters = string.ascii_letters + string.digits
        certificates.write_secret(
            path, (mark + "".join(secrets.choice(letters) for _ in range(length - len(mark)))).encode()
        )
    return str(path)
