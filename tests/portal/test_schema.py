from __future__ import annotations

import warnings
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator

from portal import errors


def test_the_description_of_the_api_is_valid_and_clean():
    out, err = StringIO(), StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call_command("spectacular", "--validate", "--fail-on-warn", stdout=out, stderr=err)

    assert "/api/v1/homes/{home}" in out.getvalue()
    assert "bearer" in out.getvalue()


def test_the_committed_description_is_that_of_the_server():
    """`make schema` writes it."""
    out = StringIO()
    call_command("spectacular", lang="en", stdout=out)

    assert (Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text() == out.getvalue()


def test_every_operation_may_answer_with_an_error():
    schema = errors.document(SchemaGenerator().get_schema(request=None, public=True))

    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    assert operations
    assert all("default" in operation["responses"] for operation in operations)
    assert schema["components"]["schemas"]["Problem"]["required"][-2:] == ["code", "trace"]


def test_every_operation_says_in_a_line_what_it_does():
    schema = SchemaGenerator().get_schema(request=None, public=True)

    lacking = [
        f"{method} {path}"
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if not operation.get("summary")
    ]
    assert lacking == []
