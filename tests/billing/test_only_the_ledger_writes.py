"""Over the syntax tree: only billing/ledger.py writes the ledger's tables or calls what does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ("accounts", "billing", "config", "meters", "notifications", "payments", "portal")
THE_DOOR = ROOT / "billing/ledger.py"
TABLES = {"JournalEntry", "Transfer", "LedgerAccount"}
WRITES = {
    "create", "acreate", "bulk_create", "get_or_create", "update_or_create", "update", "bulk_update", "delete", "save",
}  # fmt: skip
SQL = re.compile(
    r"billing_post|billing_account|meterpay\.ledger"
    r"|(insert\s+into|update|delete\s+from|truncate|copy)\s+billing_(journalentry|transfer|ledgeraccount)"
    r"|update\s+billing_purse|session_replication_role|disable\s+trigger",
    re.IGNORECASE,
)


def writes_in(tree: ast.Module) -> Iterator[str]:
    """Each place that writes the ledger: by SQL in a string, by a model's constructor, or through its manager."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            if match := SQL.search(node.value):
                yield f"{node.lineno}: {match.group()}"
        elif isinstance(node, ast.Call):
            yield from _calls(node)


def _calls(call: ast.Call) -> Iterator[str]:
    names = {part.id for part in ast.walk(call.func) if isinstance(part, ast.Name)}
    names |= {part.attr for part in ast.walk(call.func) if isinstance(part, ast.Attribute)}
    method = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if method in TABLES or (method in WRITES and names & TABLES):
        yield f"{call.lineno}: {ast.unparse(call.func)}"


def sources() -> list[Path]:
    files = [path for app in APPS for path in (ROOT / app).rglob("*.py") if "migrations" not in path.parts]
    return [path for path in files if path != THE_DOOR]


def test_nobody_but_the_ledger_writes_the_ledger() -> None:
    found = {
        str(path.relative_to(ROOT)): writes
        for path in sources()
        if (writes := list(writes_in(ast.parse(path.read_text()))))
    }

    assert found == {}


def test_the_ledger_itself_would_be_found() -> None:
    assert list(writes_in(ast.parse(THE_DOOR.read_text())))
    assert len(sources()) > 20


@pytest.mark.parametrize(
    "source",
    [
        "JournalEntry.objects.create(key='x')",
        "models.Transfer.objects.filter(pk=1).update(amount_fen=2)",
        "Transfer(amount_fen=1).save()",
        "entry = JournalEntry(key='x')",
        "LedgerAccount.objects.get_or_create(kind='paid')",
        "cursor.execute('select billing_post(%s)', [1])",
        "cursor.execute('INSERT  INTO billing_transfer values (1)')",
        "cursor.execute(\"select set_config('meterpay.ledger', 'open', true)\")",
    ],
)
def test_a_write_is_seen(source: str) -> None:
    assert list(writes_in(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "JournalEntry.objects.filter(key='x').exists()",
        "'''Kept by billing_post.'''",
        "cursor.execute('select * from billing_transfer')",
        "Order.objects.filter(pk=1).update(state='paid')",
    ],
)
def test_a_read_is_not(source: str) -> None:
    assert not list(writes_in(ast.parse(source)))
