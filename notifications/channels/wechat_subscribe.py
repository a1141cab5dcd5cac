"""Subscribe messages of the mini-program (订阅消息): each uses up a permit that its reader gave.

There is no key against doubles: what nobody answered stays unknown. That it arrived is told by an event,
subscribe_msg_sent_event, which names the number that WeChat gave it.
Source: developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/mp-message-management/subscribe-message/sendMessage.html.
"""

from __future__ import annotations

from typing import Final

from accounts.vendors import ProviderError, ProviderRefused
from accounts.wechat import MiniProgram
from notifications.channels import calls
from notifications.channels.base import Answer, Letter, Outcome

NO_PERMIT: Final = "43101"
NO_SUCH_PERSON: Final = "40003"
LANGUAGES: Final = {"zh-hans": "zh_CN", "en": "en_US"}


class SubscribeMessages:
    """Safe to share between threads."""

    def __init__(self, app: MiniProgram) -> None:
        self._app = app

    def send(self, letter: Letter) -> Answer:
        try:
            number = self._app.send_subscribe_message(
                openid=letter.address,
                template_id=letter.template_id,
                fields=letter.fields,
                page=letter.page,
                language=LANGUAGES.get(letter.language, "zh_CN"),
            )
        except ProviderRefused as refused:
            return Answer(
                outcome=Outcome.REFUSED,
                code=refused.code,
                detail=calls.without_person(refused.message, letter.address),
                is_permit_gone=refused.code == NO_PERMIT,
                is_person_gone=refused.code == NO_SUCH_PERSON,
            )
        except ProviderError as error:
            return calls.wechat_failed(error)
        return Answer(outcome=Outcome.HANDED, vendor_id=number)
