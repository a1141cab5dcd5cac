"""Template messages of the official account (公众号模板消息), to who follows it.

WeChat drops a second message of the same client_msg_id for ten minutes, so one that nobody answered is simply sent
again. What became of it is told by an event, TEMPLATESENDJOBFINISH. `first` and `remark` are shown no more: everything
stands in fields.
Source: developers.weixin.qq.com/doc/service/api/notify/template/api_sendtemplatemessage.
"""

from __future__ import annotations

from typing import Final

from accounts.vendors import ProviderError, ProviderRefused
from accounts.wechat import OfficialAccount
from notifications.channels import calls
from notifications.channels.base import Answer, Letter, Outcome

GONE: Final = {"43004", "40003"}  # does not follow any more; no such openid


class TemplateMessages:
    """Safe to share between threads."""

    def __init__(self, account: OfficialAccount) -> None:
        self._account = account

    def send(self, letter: Letter) -> Answer:
        try:
            number = self._account.send_template(
                openid=letter.address,
                template_id=letter.template_id,
                fields=letter.fields,
                url=letter.url,
                client_msg_id=letter.reference,
            )
        except ProviderRefused as refused:
            return Answer(
                outcome=Outcome.REFUSED,
                code=refused.code,
                detail=calls.without_person(refused.message, letter.address),
                is_person_gone=refused.code in GONE,
            )
        except ProviderError as error:
            return calls.wechat_failed(error)
        return Answer(outcome=Outcome.HANDED, vendor_id=number)
