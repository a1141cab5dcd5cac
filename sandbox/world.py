"""The keys of `sandbox.keys` loaded once, in the shape the servers and the pre-signing benchmarks need."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from sandbox import certificates
from sandbox.keys import make_world


@dataclass(frozen=True)
class SigningKey:
    """A key that signs for somebody, and the name it is known by (a serial, `PUB_KEY_ID_…` or Alipay's cert_sn)."""

    serial: str
    private: RSAPrivateKey
    facts: dict[str, Any]


@dataclass(frozen=True)
class WeChatMerchant:
    """What WeChat Pay knows of a merchant: whose requests to accept, and with what to sign and seal for it."""

    name: str
    mode: str  # "direct" or "partner"
    mchid: str
    appid: str
    sub_mchid: str
    sub_appid: str
    serial: str
    certified: RSAPublicKey
    apiv3_key: bytes
    public_key: SigningKey

    @property
    def appids(self) -> tuple[str, ...]:
        """The apps bound to this merchant."""
        return (self.appid, self.sub_appid) if self.sub_appid else (self.appid,)


@dataclass(frozen=True)
class AlipayApp:
    """What Alipay knows of an app; `signing.serial` is empty in key mode."""

    name: str
    mode: str  # "key" or "certificate"
    app_id: str
    seller_id: str
    public: RSAPublicKey
    signing: SigningKey
    app_cert_sn: str
    root_cert_sn: str


@dataclass(frozen=True)
class World:
    """Everything of one folder, loaded; `info` is world.json."""

    folder: Path
    info: dict[str, Any]
    wechat: dict[str, WeChatMerchant]
    platform: tuple[SigningKey, SigningKey]  # today's platform certificate and the one that follows it
    app_secrets: dict[str, str]
    alipay: dict[str, AlipayApp]
    foreign: SigningKey
    event_keys: dict[str, dict[str, str]]  # by app id: with what WeChat signs and seals events
    sms: dict[str, dict[str, str]]  # what SMS vendors know of their customers, secrets included

    def merchant_of(self, mchid: str) -> WeChatMerchant | None:
        """The merchant that signs its requests as `mchid`."""
        return next((m for m in self.wechat.values() if m.mchid == mchid), None)

    def app_of(self, app_id: str) -> AlipayApp | None:
        """The Alipay app with this id."""
        return next((a for a in self.alipay.values() if a.app_id == app_id), None)


@cache
def load_world(folder: Path) -> World:
    """The world in `folder`, made when missing. Loaded once a process: keys are slow to parse."""
    info = make_world(folder)
    wechat = info["wechat"]
    current, following = (_signing(p["serial"], p["key_file"], p) for p in wechat["platform"])
    return World(
        folder=folder,
        info=info,
        wechat={name: _merchant(name, wechat[name]) for name in ("direct", "other", "partner")},
        platform=(current, following),
        app_secrets={appid: Path(app["secret_file"]).read_text() for appid, app in wechat["apps"].items()},
        alipay={name: _app(name, app) for name, app in info["alipay"].items()},
        foreign=_signing(info["foreign"]["serial"], info["foreign"]["key_file"], info["foreign"]),
        event_keys={appid: _account(keys) for appid, keys in wechat["events"].items()},
        sms={name: _account(info["sms"][name]) for name in ("aliyun", "tencent")},
    )


def _merchant(name: str, info: dict[str, Any]) -> WeChatMerchant:
    certified = certificates.load(Path(info["cert_file"])).public_key()
    if not isinstance(certified, RSAPublicKey):
        raise TypeError(f"{info['cert_file']} is no RSA certificate")
    return WeChatMerchant(
        name=name,
        mode=info["mode"],
        mchid=info["mchid"],
        appid=info["appid"],
        sub_mchid=info.get("sub_mchid", ""),
        sub_appid=info.get("sub_appid", ""),
        serial=info["serial"],
        certified=certified,
        apiv3_key=Path(info["apiv3_key_file"]).read_bytes(),
        public_key=_signing(info["public_key_id"], info["public_key_private_file"], {}),
    )


def _app(name: str, info: dict[str, Any]) -> AlipayApp:
    in_certificates = info["mode"] == "certificate"
    key_file = info["alipay_private_key_file"]
    app_file = info["app_private_key_file"]
    return AlipayApp(
        name=name,
        mode=info["mode"],
        app_id=info["app_id"],
        seller_id=info["seller_id"],
        public=_private(app_file).public_key(),
        signing=_signing(info["alipay_cert_sn"] if in_certificates else "", key_file, {}),
        app_cert_sn=info.get("app_cert_sn", ""),
        root_cert_sn=info.get("root_cert_sn", ""),
    )


def _account(info: dict[str, str]) -> dict[str, str]:
    """With each secret beside the name of its file."""
    return info | {
        name.removesuffix("_file"): Path(path).read_text() for name, path in info.items() if name.endswith("_file")
    }


def _signing(serial: str, key_file: str, facts: dict[str, Any]) -> SigningKey:
    return SigningKey(serial=serial, private=_private(key_file), facts=facts)


def _private(path: str) -> RSAPrivateKey:
    key = serialization.load_pem_private_key(Path(path).read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError(f"{path} holds no RSA key")
    return key
