"""What messages say where staff have written nothing of their own: in Chinese and in English, by kind.

The words in braces are filled in (letters.py); kinds.py says which a kind knows. A Chinese text fits one SMS of 70
characters with a sign name of up to eight, as long as what is filled in is as short as usual. No two names touch, and
none can be blank: vendors refuse such a template or such a parameter.
"""

from __future__ import annotations

from typing import Final

CHINESE: Final = "zh-hans"
ENGLISH: Final = "en"

TEXTS: Final[dict[str, dict[str, str]]] = {
    CHINESE: {
        "recharge_received": "{room}充值{amount}元已到账。",
        "refund_done": "{room}退款{amount}元已办理，将退回原支付账户。",
        "dispute_decided": "{room}的读数异议已处理：{decision}。{note}",
        "low_balance": "{room}电费余额{balance}元，{level}，请及时充值。",
        "balance_used_up": "{room}电费余额已用完（{balance}元），请尽快充值，以免停电。",
        "balance_is_well": "{room}电费余额{balance}元，已恢复正常。",
        "cut_notice": "停电通知：{room}，{why}，余额{balance}元。如不充值，最早于{not_before}停电。",
        "power_off": "{room}已停电：{why}。{how}咨询：{contact}。",
        "power_back": "{room}已于{at}恢复供电。",
        "meter_alarm": "{room}电表于{at}报警：{alarm}。请注意用电安全，咨询：{contact}。",
        "price_change": "{room}电价{since}“{tariff}”：{prices}。",
        "monthly_bill": "{room}，{month}用电{energy}度，电费{amount}元，账单已出。",
        "trial": "这是一条测试消息，发送于{at}。",
        "login_code": "验证码{code}，{minutes}分钟内有效，请勿告诉他人。",
        "meters_silent": "{property}：{count}块电表失联（{meters}）。",
        "differences_found": "{property}：发现{count}处差异（{what}），请核对。",
        "commands_given_up": "{property}：{count}块电表无应答（{meters}）。",
        "outage": "{property}：{what}，期间不会停电，请处理。",
        "daily_summary": "{property}，{day}：{summary}",
    },
    ENGLISH: {
        "recharge_received": "{room}: recharge of {amount} yuan received.",
        "refund_done": "{room}: refund of {amount} yuan sent to where you paid from.",
        "dispute_decided": "{room}: your dispute of a reading is decided: {decision}. {note}",
        "low_balance": "{room}: electricity balance {balance} yuan, {level}. Please recharge.",
        "balance_used_up": "{room}: balance used up ({balance} yuan). Please recharge now.",
        "balance_is_well": "{room}: electricity balance is {balance} yuan and no longer low.",
        "cut_notice": "Notice of a power cut, {room}: balance {balance} yuan. "
        "Recharge, or the power may go off from {not_before}.",
        "power_off": "{room}: no power: {why}. {how} Ask {contact}.",
        "power_back": "{room}: the power has been back since {at}.",
        "meter_alarm": "{room}: alarm of your meter at {at}: {alarm}. Please take care. Ask {contact}.",
        "price_change": '{room}: your tariff {since} "{tariff}": {prices}.',
        "monthly_bill": "{room}: {month}, {energy} kWh, {amount} yuan. Your bill is ready.",
        "trial": "This is a test message, sent at {at}.",
        "login_code": "Your code is {code}, good for {minutes} minutes. Tell it to nobody.",
        "meters_silent": "{property}: silent meters: {count} ({meters}).",
        "differences_found": "{property}: differences found: {count} ({what}). Please check.",
        "commands_given_up": "{property}: meters without an answer: {count} ({meters}).",
        "outage": "{property}: {what}. Nobody is cut meanwhile.",
        "daily_summary": "{property}, {day}: {summary}",
    },
}

# Parameters of a mini-program's or official account's template as one usually picks them from WeChat's public library,
# for templates that staff have given no fields of their own. What is longer than a field takes is cut (lengths.py). A
# balance that may be below zero stands in a `thing`: an `amount` takes no minus.
WECHAT_FIELDS: Final[dict[str, dict[str, str]]] = {
    "recharge_received": {"thing1": "{room}", "amount2": "{amount}"},
    "refund_done": {"thing1": "{room}", "amount2": "{amount}"},
    "dispute_decided": {"thing1": "{room}", "thing2": "{decision}", "thing3": "{note}"},
    "low_balance": {"thing1": "{room}", "amount2": "{balance}", "thing3": "{level}"},
    "balance_used_up": {"thing1": "{room}", "thing2": "{balance}元", "thing3": "{level}"},
    "balance_is_well": {"thing1": "{room}", "amount2": "{balance}", "thing3": "{level}"},
    "cut_notice": {"thing1": "{room}", "thing2": "{balance}元", "time3": "{not_before}", "thing4": "{why}"},
    "power_off": {"thing1": "{room}", "thing2": "{why}", "thing3": "{how}"},
    "power_back": {"thing1": "{room}", "time2": "{at}"},
    "meter_alarm": {"thing1": "{room}", "thing2": "{alarm}", "time3": "{at}"},
    "price_change": {"thing1": "{room}", "thing2": "{tariff}", "date3": "{starts_on}", "thing4": "{prices}"},
    "monthly_bill": {"thing1": "{room}", "date2": "{month}", "number3": "{energy}", "amount4": "{amount}"},
    "login_code": {"character_string1": "{code}", "thing2": "{minutes}"},
    "trial": {"thing1": "{property}", "time2": "{at}"},
    "meters_silent": {"thing1": "{property}", "number2": "{count}", "thing3": "{meters}"},
    "differences_found": {"thing1": "{property}", "number2": "{count}", "thing3": "{what}"},
    "commands_given_up": {"thing1": "{property}", "number2": "{count}", "thing3": "{meters}"},
    "outage": {"thing1": "{property}", "thing2": "{what}"},
    "daily_summary": {"thing1": "{property}", "date2": "{day}", "thing3": "{summary}"},
}
