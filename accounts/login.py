"""Who is there: a vendor's login code becomes a person, a person gets a token that ends.

No passwords for tenants: WeChat or Alipay vouches for who they are in one app of ours, and one person's apps are
joined by the vendor's union id. Only the SHA-256 of a token is kept.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import joining, vendor_apps
from accounts.models import AccessToken, Identity, User

log = logging.getLogger(__name__)
KEPT_AFTER_END = timedelta(days=30)  # long enough to look into a complaint about a login


def _columns(model: type[Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]  # noqa: SLF001 (Django's own interface)


_TOKEN, _USER, _IDENTITY = _columns(AccessToken), _columns(User), _columns(Identity)
_SELECTED = ", ".join(
    f"{alias}.{name}" for alias, names in (("t", _TOKEN), ("u", _USER), ("i", _IDENTITY)) for name in names
)
# Plan: the unique index on the digest, then two primary keys.
_ACCESS = f"""
select {_SELECTED}
  from accounts_accesstoken t
  join accounts_user u on u.id = t.user_id
  left join accounts_identity i on i.id = t.identity_id
 where t.digest = %s and t.revoked_at is null and t.expires_at > %s and u.is_active
"""  # noqa: S608 (names of our columns)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a vendor vouches for: `subject` is the openid in that app; `union_id` is the same in all our apps, or ""."""

    provider: str
    app_id: str
    subject: str
    union_id: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`token` is told here and never again."""

    token: str
    expires_at: datetime
    user: User
    identity: Identity | None  # None: by a code to their phone


class LoginClosedError(Exception):
    """Staff have closed this person's login."""


def sign_in_wechat(*, code: str, now: datetime) -> SignedIn:
    """Signs in by the code of `wx.login`. Raises vendors.ProviderError, vendor_apps.NotSetUpError, LoginClosedError."""
    app = vendor_apps.wechat_app()
    session = app.code_to_session(code)
    return sign_in(Person(Identity.Provider.WECHAT, app.app_id, session.openid, session.union_id), now=now)


def sign_in_alipay(*, auth_code: str, now: datetime) -> SignedIn:
    """Signs in by the code of `my.getAuthCode`. Raises as sign_in_wechat."""
    app = vendor_apps.alipay_app()
    granted = app.oauth_token(auth_code)
    return sign_in(Person(Identity.Provider.ALIPAY, app.app_id, granted.subject, granted.union_id), now=now)


@transaction.atomic
def sign_in(person: Person, *, now: datetime) -> SignedIn:
    """A token for whom a vendor vouches for, who becomes a user of ours the first time. Raises LoginClosedError."""
    identity = recognise(person)
    return _signed_in(identity.user, identity, now)


@transaction.atomic
def sign_in_phone(phone: str, *, now: datetime) -> SignedIn:
    """A token for who has just proven that this number is theirs (phone_codes.use), who becomes a user of ours the
    first time. Two at once are one person. Raises LoginClosedError.
    """
    _lock_names([f"phone:{phone}"])
    user = User.objects.filter(phone=phone).first() or _new_user(phone=phone)
    return _signed_in(user, None, now)


def _signed_in(user: User, identity: Identity | None, now: datetime) -> SignedIn:
    user = joining.standing(user)
    if not user.is_active:
        raise LoginClosedError
    token = secrets.token_urlsafe(32)
    expires_at = now + timedelta(days=settings.TOKEN_LIFETIME_DAYS)
    AccessToken.objects.create(
        user=user, identity=identity, digest=digest_of(token), created_at=now, expires_at=expires_at
    )
    return SignedIn(token, expires_at, user, identity)


@transaction.atomic
def recognise(person: Person, *, asking: User | None = None) -> Identity:
    """The identity of a person; a new one joins the user who has their union id, else who is `asking`, or a new user.

    Lock, then look: whoever logs in twice at once, or in two of our apps at once, is one person all the same.
    Two users who turn out to be one (the union id came later) stay two: their homes are a person's to merge.
    """
    _lock(person)
    same = Identity.objects.filter(provider=person.provider, app_id=person.app_id, subject=person.subject)
    identity = same.select_related("user").first()
    if identity is None:
        return Identity.objects.create(
            user=_owner_of_union_id(person) or (joining.standing(asking) if asking else _new_user()),
            provider=person.provider,
            app_id=person.app_id,
            subject=person.subject,
            union_id=person.union_id,
        )
    if person.union_id and identity.union_id != person.union_id:
        identity.union_id = person.union_id
        identity.save(update_fields=["union_id"])
    return identity


def log_out(*, token: AccessToken, now: datetime) -> bool:
    """Ends one login; the person's others go on. False when it had ended before."""
    return AccessToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=now) == 1


def forget_ended_tokens(*, now: datetime) -> int:
    """Deletes tokens that ended long ago; how many. A token kept for ever would tell when somebody was where."""
    return AccessToken.objects.filter(expires_at__lt=now - KEPT_AFTER_END).delete()[0]


def digest_of(token: str) -> str:
    """SHA-256, not salted: the token itself has 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def access_by(token: str, *, now: datetime) -> AccessToken | None:
    """The login that this token opens, with its user and identity loaded; None when it ended or never was.

    Each request of a tenant begins here, so it is plain SQL: the ORM takes five times as long to say the same.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ACCESS, [digest_of(token), now])
        row = cursor.fetchone()
    if row is None:
        return None
    at = len(_TOKEN)
    access = AccessToken.from_db(connection.alias, _TOKEN, row[:at])
    access.user = User.from_db(connection.alias, _USER, row[at : at + len(_USER)])
    of_app = row[at + len(_USER) :]
    access.identity = Identity.from_db(connection.alias, _IDENTITY, of_app) if access.identity_id else None
    return access


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`; `request.auth` is the AccessToken, with its identity already loaded."""

    keyword = "Bearer"

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        scheme, _sep, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        access = access_by(token.strip(), now=timezone.now())
        if access is None:
            raise AuthenticationFailed(_("Your login has ended. Please log in again."), "login_ended")
        return access.user, access

    def authenticate_header(self, request: Request) -> str:
        """Sent with a 401; without it the framework would answer 403, and no client would log in again."""
        return 'Bearer realm="meterpay"'


def _lock(person: Person) -> None:
    """Until the transaction ends nobody else recognises this openid, nor this union id. Always in this order."""
    names = [f"{person.provider}:{person.app_id}:{person.subject}"]
    if person.union_id:
        names.append(f"{person.provider}:{person.union_id}")
    _lock_names(names)


def _lock_names(names: list[str]) -> None:
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"identity:{name}"])


def _owner_of_union_id(person: Person) -> User | None:
    if not person.union_id:
        return None
    others = Identity.objects.filter(provider=person.provider, union_id=person.union_id)
    first = others.select_related("user").order_by("pk").first()
    return first.user if first else None


def _new_user(*, phone: str | None = None) -> User:
    user = User(username=f"{User.MADE_UP}{uuid.uuid4().hex}", phone=phone)
    user.set_unusable_password()
    user.save(force_insert=True)
    return user
