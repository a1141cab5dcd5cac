"""Amounts in capital characters, as receipts in China must show them: ¥1,005.20 is 壹仟零伍元贰角整.

After the rules for filling in bills (《支付结算办法》附一 正确填写票据和结算凭证的基本规定).
"""

from __future__ import annotations

DIGITS = "零壹贰叁肆伍陆柒捌玖"
PLACES = ("", "拾", "佰", "仟")
GROUPS = ("", "万", "亿", "万亿")  # of four digits each


def in_capitals(fen: int) -> str:
    """Fen (0 up to ten thousand million million yuan) in capital characters. Raises ValueError outside of that."""
    if not 0 <= fen < 10**18:
        raise ValueError("no amount that a receipt could show")
    yuan, rest = divmod(fen, 100)
    jiao, fen = divmod(rest, 10)
    whole = f"{_whole(yuan)}元" if yuan or not rest else ""
    if not rest:
        return f"{whole}整"
    tenths = f"{DIGITS[jiao]}角" if jiao else ("零" if yuan else "")
    return f"{whole}{tenths}{DIGITS[fen]}分" if fen else f"{whole}{tenths}整"


def _whole(yuan: int) -> str:
    """A zero between digits is said once, however many there are; at the end of a group it is not said."""
    said, owed = "", False
    for at in range(len(str(yuan)) - 1, -1, -1):
        digit = yuan // 10**at % 10
        if digit:
            said += ("零" if owed and said else "") + DIGITS[digit] + PLACES[at % 4]
        owed = not digit
        if at % 4 == 0 and yuan // 10**at % 10000:
            said += GROUPS[at // 4]
    return said or DIGITS[0]
