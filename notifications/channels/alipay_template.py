"""Template messages of the Alipay mini-program (小程序模板消息), to who subscribed.

There is no key against doubles and no news of what arrived: taken over is the most that can be said. No `form_id`: whom
a subscribe template (订阅消息模板) reaches has consented by its own tap, and not by a payment or a form.
Source: opendocs.alipay.com, alipay.open.app.mini.templatemessage.send.
"""

from __future__ import annotations

import json
from typing import Final

from accounts.alipay import AlipayGateway
from accounts.vendors import ProviderError, ProviderRefused
from notifications.channels import calls
from notifications.channels.base import Answer, Letter, Outcome

METHOD: Final = "alipay.open.app.mini.templatemessage.send"
USER_ID_BEGINS: Final = "2088"  # an old app knows people by a user id of 16 digits


class AlipayMessages:
    """Safe to share between threads."""

    def __init__(self, app: AlipayGateway) -> None:
        self._app = app

    def send(self, letter: Letter) -> Answer:
        is_user_id = len(letter.address) == 16 and letter.address.startswith(USER_ID_BEGINS)
        content = {
            "to_user_id" if is_user_id else "to_open_id": letter.address,
            "user_template_id": letter.template_id,
            "page": letter.page or "pages/home/index",
            "data": json.dumps({name: {"value": value} for name, value in letter.fields.items()}, ensure_ascii=False),
        }
        try:
            self._app.call(METHOD, content)
        except ProviderRefused as refused:
            return Answer(
                outcome=Outcome.REFUSED,
                code=refused.code[:64],
                detail=calls.without_person(refused.message, letter.address),
            )
        except ProviderError as error:
            return calls.failed(error)
        return Answer(outcome=Outcome.HANDED)
