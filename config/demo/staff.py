"""Who may look into the demo's admin: an administrator who sees everything, and the front desk of one property.

What the front desk sees and may do comes from its StaffRole alone; `compare` looks at it through the web as both.
"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass
from pathlib import Path

import requests

from accounts.models import Building, Property, Room, StaffRole, User
from sandbox import certificates

CHARACTERS = string.ascii_letters + string.digits
NEIGHBOUR_CODE, NEIGHBOUR_NAME = "moonlight", "月光公寓"
TIMEOUT_S = 10
FORBIDDEN = 403
# Pages that the front desk works with, and those that are not its business.
WORK = {"counter recharge": "payments/counterreceipt/add/", "hold power": "billing/staffhold/add/"}
NOT_ITS_OWN = {"merchants": "payments/merchant/add/", "staff roles": "accounts/staffrole/add/"}


@dataclass(frozen=True, slots=True)
class Login:
    """A member of staff. The password is made once and kept in a file that only its owner reads."""

    username: str
    name: str
    is_operator: bool

    def password(self, folder: Path) -> str:
        """As it is kept there; made when it is not."""
        file = folder / f"{self.username}_password"
        if not file.exists():
            certificates.write_secret(file, "".join(secrets.choice(CHARACTERS) for _ in range(16)).encode())
        return file.read_text()


ADMIN = Login("admin", "管理员", is_operator=True)
FRONT_DESK = Login("frontdesk", "前台小李", is_operator=False)


def enter(login: Login, folder: Path) -> User:
    """The row of a login, with the password that the file has: the file may have come from another database."""
    fields = {"name": login.name, "is_staff": True, "is_superuser": login.is_operator}
    user, _ = User.objects.get_or_create(username=login.username, defaults=fields)
    password = login.password(folder)
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    return user


def give_roles(place: Property, folder: Path) -> None:
    """The front desk works at this property, and there is another one at which it does not."""
    desk = enter(FRONT_DESK, folder)
    StaffRole.objects.get_or_create(user=desk, property=place, defaults={"role": StaffRole.Role.SERVICE})
    neighbour, is_new = Property.objects.get_or_create(code=NEIGHBOUR_CODE, defaults={"name": NEIGHBOUR_NAME})
    if is_new:
        building = Building.objects.create(property=neighbour, name="A座")
        for number in ("101", "102"):
            Room.objects.create(building=building, number=number)


def compare(url: str, folder: Path) -> list[str]:
    """Looks at the admin as both, and says what differs. Raises AssertionError where a role reaches too far."""
    with _Visit(url, ADMIN, folder) as admin, _Visit(url, FRONT_DESK, folder) as desk:
        all_of_them, its_own = admin.properties(), desk.properties()
        if not set(its_own) < set(all_of_them):
            raise AssertionError(f"the front desk sees {its_own}, the administrator {all_of_them}")
        shut = [what for what, page in (WORK | NOT_ITS_OWN).items() if desk.status(page) == FORBIDDEN]
        if shut != list(NOT_ITS_OWN):
            raise AssertionError(f"the front desk is kept from {shut}")
    return [
        f"{ADMIN.username}: {', '.join(sorted(all_of_them))}; everything",
        f"{FRONT_DESK.username}: {', '.join(its_own)} alone; {', '.join(WORK)}; not {', '.join(NOT_ITS_OWN)}",
    ]


class _Visit:
    """Somebody logged in to the admin, as a browser would be."""

    def __init__(self, url: str, login: Login, folder: Path) -> None:
        self._url = f"{url}/admin/"
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Accept-Language"] = "en"
        page = self._get("login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        answers = {"username": login.username, "password": login.password(folder), "next": "/admin/"}
        answers |= {"csrfmiddlewaretoken": token.group(1) if token else ""}
        entered = self._http.post(f"{self._url}login/", data=answers, timeout=TIMEOUT_S)
        if not entered.ok or "id_password" in entered.text:
            raise AssertionError(f"{login.username} cannot log in ({entered.status_code})")

    def __enter__(self) -> _Visit:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._http.close()

    def properties(self) -> list[str]:
        """The names in the list of properties."""
        return re.findall(r'<th class="field-name"><a [^>]*>([^<]+)</a>', self._get("accounts/property/").text)

    def status(self, page: str) -> int:
        return self._get(page).status_code

    def _get(self, page: str) -> requests.Response:
        return self._http.get(f"{self._url}{page}", timeout=TIMEOUT_S)
