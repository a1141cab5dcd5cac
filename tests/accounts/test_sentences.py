from __future__ import annotations

import pytest

from accounts.sentences import joined


@pytest.mark.parametrize(
    ("sentences", "text"),
    [
        (["One.", "Two."], "One. Two."),
        (["表内余额已用完。", "充值后电表自动合闸。"], "表内余额已用完。充值后电表自动合闸。"),
        (["", "One.", ""], "One."),
        ([], ""),
    ],
)
def test_chinese_sentences_follow_without_a_blank(sentences, text):
    assert joined(*sentences) == text
