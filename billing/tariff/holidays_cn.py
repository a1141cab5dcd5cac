"""China's public holidays and make-up workdays, as the General Office of the State Council announced them.

Source: 国务院办公厅关于…年部分节假日安排的通知, one notice a year. All days of a break (放假调休) are here, which is
more than the statutory holidays (法定节假日) within it. The notice for 2027 was not to be found when this was written
(2026-11-23): a year without a notice is left out, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

# Name, first day, last day, make-up workdays.
Break = tuple[str, date, date, tuple[date, ...]]


@dataclass(frozen=True, slots=True)
class Notice:
    """One year's notice: its number, its page, and its breaks in order."""

    year: int
    number: str
    source: str
    breaks: tuple[Break, ...]


NOTICES: Final = (
    Notice(
        year=2024,
        number="国办发明电〔2023〕7号",  # noqa: RUF001 (the brackets that official numbers are written with)
        source="国务院公报 2023年第31号; paper.people.com.cn/rmrb/html/2023-10/26/nw.D110000renmrb_20231026_3-06.htm",
        breaks=(
            ("元旦", date(2024, 1, 1), date(2024, 1, 1), ()),
            ("春节", date(2024, 2, 10), date(2024, 2, 17), (date(2024, 2, 4), date(2024, 2, 18))),
            ("清明节", date(2024, 4, 4), date(2024, 4, 6), (date(2024, 4, 7),)),
            ("劳动节", date(2024, 5, 1), date(2024, 5, 5), (date(2024, 4, 28), date(2024, 5, 11))),
            ("端午节", date(2024, 6, 10), date(2024, 6, 10), ()),
            ("中秋节", date(2024, 9, 15), date(2024, 9, 17), (date(2024, 9, 14),)),
            ("国庆节", date(2024, 10, 1), date(2024, 10, 7), (date(2024, 9, 29), date(2024, 10, 12))),
        ),
    ),
    Notice(
        year=2025,
        number="国办发明电〔2024〕12号",  # noqa: RUF001 (the brackets that official numbers are written with)
        source="新华社 2024-11-12, m.gmw.cn/2024-11/12/content_1303894933.htm",
        breaks=(
            ("元旦", date(2025, 1, 1), date(2025, 1, 1), ()),
            ("春节", date(2025, 1, 28), date(2025, 2, 4), (date(2025, 1, 26), date(2025, 2, 8))),
            ("清明节", date(2025, 4, 4), date(2025, 4, 6), ()),
            ("劳动节", date(2025, 5, 1), date(2025, 5, 5), (date(2025, 4, 27),)),
            ("端午节", date(2025, 5, 31), date(2025, 6, 2), ()),
            ("国庆节、中秋节", date(2025, 10, 1), date(2025, 10, 8), (date(2025, 9, 28), date(2025, 10, 11))),
        ),
    ),
    Notice(
        year=2026,
        number="国办发明电〔2025〕7号",  # noqa: RUF001 (the brackets that official numbers are written with)
        source="新华社 2025-11-04, politics.gmw.cn/2025-11/04/content_38391083.htm",
        breaks=(
            ("元旦", date(2026, 1, 1), date(2026, 1, 3), (date(2026, 1, 4),)),
            ("春节", date(2026, 2, 15), date(2026, 2, 23), (date(2026, 2, 14), date(2026, 2, 28))),
            ("清明节", date(2026, 4, 4), date(2026, 4, 6), ()),
            ("劳动节", date(2026, 5, 1), date(2026, 5, 5), (date(2026, 5, 9),)),
            ("端午节", date(2026, 6, 19), date(2026, 6, 21), ()),
            ("中秋节", date(2026, 9, 25), date(2026, 9, 27), ()),
            ("国庆节", date(2026, 10, 1), date(2026, 10, 7), (date(2026, 9, 20), date(2026, 10, 10))),
        ),
    ),
)
