"""Messages of WeChat: subscriptions of mini-programs, templates of the official account, and the events about both.

Sources: developers.weixin.qq.com, mini-program subscribeMessage.send and its events (subscribe-message.html);
service account sendTemplateMessage, user/info, TEMPLATESENDJOBFINISH; message encryption (AES-CBC, PKCS#7 to 32).
"""

import base64
import hashlib
import json
import re
import secrets
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from sandbox.callbacks import Courier, Delivery
from sandbox.keys import MINI_APPID, OFFICIAL_APPID
from sandbox.server import as_json, json_of
from sandbox.wechat_app import AppError, MiniPrograms
from sandbox.world import World

SAME_FOR_S = 600  # a repeated client_msg_id
EVENT_AFTER_S = 0.2
INFOS_AT_MOST = 100
LIMITS = {"thing": 20, "character_string": 32, "phrase": 5, "short_thing": 5, "name": 10, "letter": 32, "symbol": 5}
_FIELD = re.compile(r"([a-z_]+)\d+")
_NUMBER = re.compile(r"-?[\d.,]+")


@dataclass
class Said:
    """One message that WeChat took."""

    app: str
    to: str
    template: str
    data: dict[str, str]
    page: str
    number: int
    at: float
    client_msg_id: str = ""


class Messages:
    """What apps send to people. The caller holds the box's lock for the vendor's API."""

    def __init__(self, world: World, apps: MiniPrograms) -> None:
        self._world, self._apps = world, apps
        self.courier: Courier | None = None
        self.outcome: Callable[[], str] = lambda: "deliver"
        self.sent: list[Said] = []
        self._by_client_id: dict[tuple[str, str], Said] = {}
        self.permits: dict[str, int] = {}  # openid and template
        self.followers: dict[str, str] = {}  # openid of the official account: unionid
        self.event_urls: dict[str, str] = {}
        self.encrypts = False
        self.page = 10_000  # followers a page

    def routes(self) -> Iterator[Rule]:
        """The vendor's paths and the control paths."""
        yield Rule("/cgi-bin/message/subscribe/send", methods=["POST"], endpoint=self.subscribe_send)
        yield Rule("/cgi-bin/message/template/send", methods=["POST"], endpoint=self.template_send)
        yield Rule("/cgi-bin/user/info", methods=["GET"], endpoint=self.user_info)
        yield Rule("/cgi-bin/user/info/batchget", methods=["POST"], endpoint=self.user_infos)
        yield Rule("/cgi-bin/user/get", methods=["GET"], endpoint=self.user_list)
        yield Rule("/sandbox/messages", methods=["GET"], endpoint=self._list)
        yield Rule("/sandbox/permits", methods=["POST"], endpoint=self._grant)
        yield Rule("/sandbox/follow", methods=["POST"], endpoint=self._follow)
        yield Rule("/sandbox/events_to", methods=["POST"], endpoint=self._events_to)

    def snapshot(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "sent": [asdict(one) for one in self.sent],
            "permits": self.permits,
            "followers": self.followers,
            "event_urls": self.event_urls,
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Continues from a snapshot; from an empty one it forgets."""
        self.sent = [Said(**one) for one in saved.get("sent", [])]
        self._by_client_id = {(one.to, one.client_msg_id): one for one in self.sent}
        self.permits = dict(saved.get("permits", {}))
        self.followers = dict(saved.get("followers", {}))
        self.event_urls = dict(saved.get("event_urls", {}))

    # ---- the vendor ----

    def subscribe_send(self, request: Request) -> Response:
        """POST /cgi-bin/message/subscribe/send: uses up one permit."""
        appid, asked = self._apps.token_owner(request), _object(request)
        to, template = str(asked.get("touser")), str(asked.get("template_id"))
        if to not in self._apps.openids.get(appid, set()):
            raise AppError(40003, "invalid openid")
        _fields(asked)
        left = self.permits.get(f"{to} {template}", 0)
        if not left:
            raise AppError(43101, "user refuse to accept the msg")
        self.permits[f"{to} {template}"] = left - 1
        said = self._keep(appid, asked)
        self._tell_subscriber(said)
        return as_json({"errcode": 0, "errmsg": "ok", "msgid": said.number})

    def template_send(self, request: Request) -> Response:
        """POST /cgi-bin/message/template/send: to who follows the account."""
        appid, asked = self._apps.token_owner(request), _object(request)
        to = str(asked.get("touser"))
        if appid != OFFICIAL_APPID:
            raise AppError(48001, "api unauthorized")
        if to not in self.followers:
            raise AppError(43004, "require subscribe")
        same = self._same(to, str(asked.get("client_msg_id", "")))
        if same is not None:
            return as_json({"errcode": 0, "errmsg": "ok", "msgid": same.number})
        said = self._keep(appid, asked)
        status = "success" if self.outcome() == "deliver" else "failed:user block"
        self._event(
            appid, to, f"<Event>TEMPLATESENDJOBFINISH</Event><MsgID>{said.number}</MsgID><Status>{status}</Status>"
        )
        return as_json({"errcode": 0, "errmsg": "ok", "msgid": said.number})

    def user_info(self, request: Request) -> Response:
        """GET /cgi-bin/user/info."""
        self._apps.token_owner(request)
        return as_json(self._follower(request.args.get("openid", "")))

    def user_infos(self, request: Request) -> Response:
        """POST /cgi-bin/user/info/batchget: 100 at most."""
        self._apps.token_owner(request)
        asked = _object(request).get("user_list")
        if not isinstance(asked, list) or not 0 < len(asked) <= INFOS_AT_MOST:
            raise AppError(40032, "invalid openid list size")
        return as_json({"user_info_list": [self._follower(str(one["openid"])) for one in asked]})

    def user_list(self, request: Request) -> Response:
        """GET /cgi-bin/user/get: a page of openids after `next_openid`."""
        self._apps.token_owner(request)
        after, openids = request.args.get("next_openid", ""), list(self.followers)
        begin = openids.index(after) + 1 if after in self.followers else 0
        page = openids[begin : begin + self.page]
        about = {"total": len(openids), "count": len(page), "next_openid": page[-1] if page else ""}
        return as_json(about | ({"data": {"openid": page}} if page else {}))

    def _follower(self, openid: str) -> dict[str, Any]:
        if openid not in self.followers:
            return {"subscribe": 0, "openid": openid}
        return {"subscribe": 1, "openid": openid, "unionid": self.followers[openid], "language": "zh_CN"}

    def _same(self, to: str, client_msg_id: str) -> Said | None:
        """What was sent to this person under this id a short time ago."""
        found = self._by_client_id.get((to, client_msg_id)) if client_msg_id else None
        return found if found and found.at > time.time() - SAME_FOR_S else None

    def _keep(self, app: str, asked: dict[str, Any]) -> Said:
        said = Said(
            app=app,
            to=str(asked["touser"]),
            template=str(asked["template_id"]),
            data=_fields(asked),
            page=str(asked.get("page") or asked.get("url") or ""),
            number=secrets.randbelow(10**18),
            at=time.time(),
            client_msg_id=str(asked.get("client_msg_id", "")),
        )
        self.sent.append(said)
        self._by_client_id[said.to, said.client_msg_id] = said
        return said

    # ---- events ----

    def _tell_subscriber(self, said: Said) -> None:
        code, status = ("0", "success") if self.outcome() == "deliver" else ("43101", "user refuse to accept the msg")
        self._event(
            said.app,
            said.to,
            f"<Event>subscribe_msg_sent_event</Event><SubscribeMsgSentEvent><List>"
            f"<TemplateId>{escape(said.template)}</TemplateId><MsgID>{said.number}</MsgID>"
            f"<ErrorCode>{code}</ErrorCode><ErrorStatus>{status}</ErrorStatus></List></SubscribeMsgSentEvent>",
        )

    def _event(self, appid: str, openid: str, inner: str) -> None:
        url = self.event_urls.get(appid)
        if not url or self.courier is None or self.outcome() == "silent":
            return
        xml = (
            f"<xml><ToUserName>gh_sandbox</ToUserName><FromUserName>{openid}</FromUserName>"
            f"<CreateTime>{int(time.time())}</CreateTime><MsgType>event</MsgType>{inner}</xml>"
        )
        query, body = signed_event(self._world.event_keys[appid], xml, appid=appid, encrypts=self.encrypts)
        self.courier.send(
            Delivery(id=str(uuid.uuid4()), about=openid, url=f"{url}?{query}", payload={"xml": body}),
            delay_s=EVENT_AFTER_S,
        )

    # ---- what people do ----

    def _list(self, request: Request) -> Response:
        to = request.args.get("to", "")
        return as_json({"messages": [asdict(one) for one in self.sent if to in {"", one.to}]})

    def _grant(self, request: Request) -> Response:
        """`{"openid", "template_id", "count"}`: the person taps "allow" in the mini-program so often."""
        asked = json_of(request)
        key = f"{asked['openid']} {asked['template_id']}"
        self.permits[key] = self.permits.get(key, 0) + int(asked.get("count", 1))
        self._event(
            MINI_APPID,
            asked["openid"],
            f"<Event>subscribe_msg_popup_event</Event><SubscribeMsgPopupEvent><List>"
            f"<TemplateId>{escape(asked['template_id'])}</TemplateId>"
            f"<SubscribeStatusString>accept</SubscribeStatusString><PopupScene>0</PopupScene></List>"
            f"</SubscribeMsgPopupEvent>",
        )
        return as_json({"left": self.permits[key]})

    def _follow(self, request: Request) -> Response:
        """`{"openid", "unionid"}` begins to follow the official account; with `"leave": true` they stop."""
        asked = json_of(request)
        openid = asked.get("openid") or f"oOFFICIAL{uuid.uuid4().hex[:19]}"
        if asked.get("leave"):
            self.followers.pop(openid, None)
            self._event(OFFICIAL_APPID, openid, "<Event>unsubscribe</Event><EventKey></EventKey>")
        else:
            self.followers[openid] = asked.get("unionid", "")
            self._event(OFFICIAL_APPID, openid, "<Event>subscribe</Event><EventKey></EventKey>")
        return as_json({"openid": openid})

    def _events_to(self, request: Request) -> Response:
        """`{"official": url, "mini": url, "encrypt": false}`: as entered in WeChat's console."""
        asked = json_of(request)
        for name, appid in (("official", OFFICIAL_APPID), ("mini", MINI_APPID)):
            if name in asked:
                self.event_urls[appid] = asked[name]
        self.encrypts = bool(asked.get("encrypt", self.encrypts))
        return as_json(self.event_urls)


def signed_event(
    keys: dict[str, str], xml: str, *, appid: str, encrypts: bool, at: float | None = None
) -> tuple[str, str]:
    """Query and body of an event: signed by the token, or sealed (安全模式) and signed over what is sealed."""
    stamp, nonce = str(int(at or time.time())), str(secrets.randbelow(10**10))
    about = {"timestamp": stamp, "nonce": nonce, "signature": _sha1(keys["token"], stamp, nonce)}
    if not encrypts:
        return urlencode(about), xml
    sealed = seal(keys["aes_key"], xml, appid=appid)
    about |= {"encrypt_type": "aes", "msg_signature": _sha1(keys["token"], stamp, nonce, sealed)}
    return urlencode(about), f"<xml><ToUserName>gh_sandbox</ToUserName><Encrypt>{sealed}</Encrypt></xml>"


def seal(aes_key: str, xml: str, *, appid: str) -> str:
    """16 random bytes, the length, the text and the app id, AES-256-CBC."""
    key, text = base64.b64decode(aes_key + "="), xml.encode()
    plain = secrets.token_bytes(16) + struct.pack(">I", len(text)) + text + appid.encode()
    pad = 32 - len(plain) % 32
    cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(cipher.update(plain + bytes([pad]) * pad) + cipher.finalize()).decode()


def _sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - WeChat's


def _fields(asked: dict[str, Any]) -> dict[str, str]:
    if not str(asked.get("template_id") or ""):
        raise AppError(40037, "invalid template_id")
    data = asked.get("data")
    if not isinstance(data, dict) or not data:
        raise AppError(47003, "argument invalid! data")
    found = {}
    for name, one in data.items():
        value, kind = str(one.get("value", "")) if isinstance(one, dict) else "", _FIELD.fullmatch(name)
        is_number = kind is None or kind[1] not in {"number", "amount"} or _NUMBER.fullmatch(value.strip("¥元"))
        if not value or (kind and len(value) > LIMITS.get(kind[1], 64)) or not is_number:
            raise AppError(47003, f"argument invalid! data.{name}.value is invalid")
        found[name] = value
    return found


def _object(request: Request) -> dict[str, Any]:
    try:
        content = json.loads(request.get_data())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AppError(47001, "data format error")
    return content
