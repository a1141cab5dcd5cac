"""WeChat and Alipay as one test needs them: keys made here, real HTTP on the loopback, answers as the test says."""

from __future__ import annotations

import base64
import functools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from accounts import vendors

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
APIV3_KEY = b"0123456789abcdef0123456789abcdef"


@functools.cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """The key of somebody, the same for the whole run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def certificate_pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, begins: datetime = NOW, days: int = 365, serial: int = 0
) -> str:
    """A self-signed certificate that is good from `begins` on."""
    parts = (
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.ORGANIZATION_NAME, "somebody"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "tests"),
        (NameOID.COMMON_NAME, "a name"),
    )
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=serial or x509.random_serial_number(),
        not_valid_before=begins - timedelta(hours=1),
        not_valid_after=begins + timedelta(days=days),
    )
    return builder.sign(key, SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def serial_of(certificate: str) -> str:
    return f"{x509.load_pem_x509_certificate(certificate.encode()).serial_number:X}"


def signature(key: rsa.RSAPrivateKey, message: bytes) -> str:
    return base64.b64encode(key.sign(message, PKCS1v15(), SHA256())).decode()


def sealed(content: bytes, *, nonce: str = "abcdefghijkl", associated: str = "transaction") -> dict[str, str]:
    """A resource as WeChat seals it with the APIv3 key."""
    ciphertext = AESGCM(APIV3_KEY).encrypt(nonce.encode(), content, associated.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": nonce,
        "associated_data": associated,
        "ciphertext": base64.b64encode(ciphertext).decode(),
        "original_type": associated,
    }


def wechat_headers(body: bytes, *, key: rsa.RSAPrivateKey, serial: str, at: datetime = NOW) -> dict[str, str]:
    """What WeChat puts over an answer or a callback."""
    timestamp, nonce = str(int(at.timestamp())), "f00dfeed"
    return {
        "Wechatpay-Timestamp": timestamp,
        "Wechatpay-Nonce": nonce,
        "Wechatpay-Serial": serial,
        "Wechatpay-Signature-Type": "WECHATPAY2-SHA256-RSA2048",
        "Wechatpay-Signature": signature(key, f"{timestamp}\n{nonce}\n".encode() + body + b"\n"),
    }


def alipay_form(fields: dict[str, str], *, key: rsa.RSAPrivateKey, charset: str = "utf-8", **after: str) -> bytes:
    """A notify: signed by `key` over all fields but sign_type; `after` is written over it when it is signed."""
    covered = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k != "sign_type").encode(charset)
    return urlencode(fields | {"sign": signature(key, covered)} | after, encoding=charset).encode()


def alipay_answer(
    method: str, content: dict[str, Any] | str, *, key: rsa.RSAPrivateKey | None, name: str = "", serial: str = ""
) -> bytes:
    """What the gateway answers; unsigned without a key."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    tail = f',"alipay_cert_sn":"{serial}"' if serial else ""
    if key is not None:
        tail += f',"sign":"{signature(key, text.encode())}"'
    return f'{{"{name or method.replace(".", "_") + "_response"}":{text}{tail}}}'.encode()


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: tuple[str, int]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answering = Callable[[Asked], tuple[int, dict[str, str], bytes] | None]


@dataclass
class Vendor:
    """A server whose answers the test chooses; None hangs up without one."""

    url: str
    answer: Answering = lambda _asked: (200, {}, b"{}")
    asked: list[Asked] = field(default_factory=list)

    def says(self, content: object, status: int = 200) -> None:
        """The same JSON to whoever asks."""
        self.answer = lambda _asked: (status, {}, json.dumps(content).encode())

    def says_in_turn(self, *contents: object) -> None:
        left = list(contents)
        self.answer = lambda _asked: (200, {}, json.dumps(left.pop(0)).encode())


class Shelf:
    """A token store that all clients of a test share, as processes share a database."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}
        self.timeouts: dict[str, float | None] = {}

    def get(self, key: str) -> object:
        return self.kept.get(key)

    def set(self, key: str, value: object, timeout: float | None) -> None:
        self.kept[key], self.timeouts[key] = value, timeout

    def add(self, key: str, value: object, timeout: float | None) -> bool:
        if key in self.kept:
            return False
        self.set(key, value, timeout)
        return True


@contextmanager
def vendor() -> Iterator[Vendor]:
    """Serves on the loopback until the test is over."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    desk = Vendor(f"http://127.0.0.1:{server.server_port}")
    server.desk = desk  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield desk
    finally:
        vendors._session().close()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        desk = self.server.desk  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body, self.client_address)
        desk.asked.append(asked)
        answer = desk.answer(asked)
        if answer is None:
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass
