"""The control API of the fleet, for this machine only: JSON in and out.

GET    /                                    {"broker", "count", "connected", "meters": [...]}
POST   /meters                              a list of definitions: {"added", "kept"}
GET    /meters/<property>/<serial>          the whole state
DELETE /meters/<property>/<serial>          it says goodbye
POST   /meters/<property>/<serial>/faults   sets the faults named; DELETE clears them all
POST   /meters/<property>/<serial>/report   telemetry now
POST   /meters/<property>/<serial>/consume  {"wh": n}: the state with "used_wh"
POST   /meters/<property>/<serial>/press    the button that closes a relay which may be closed
"""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from sandbox.fleet.loop import Fleet, UnknownMeterError
from sandbox.fleet.registers import WrongDefinitionError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LARGEST_BODY = 1 << 22
HOST = "127.0.0.1"


class Control:
    """A WSGI application over a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        one = "/meters/<p>/<s>"
        self._routes = Map(
            [
                Rule("/", methods=["GET"], endpoint=lambda _: fleet.overview()),
                Rule("/meters", methods=["POST"], endpoint=lambda body: fleet.add(_a_list(body))),
                Rule(one, methods=["GET"], endpoint=lambda _, p, s: fleet.state(p, s)),
                Rule(one, methods=["DELETE"], endpoint=lambda _, p, s: fleet.remove(p, s)),
                Rule(
                    f"{one}/faults",
                    methods=["POST"],
                    endpoint=lambda body, p, s: fleet.change_faults(p, s, _an_object(body)),
                ),
                Rule(f"{one}/faults", methods=["DELETE"], endpoint=lambda _, p, s: fleet.clear_faults(p, s)),
                Rule(f"{one}/report", methods=["POST"], endpoint=lambda _, p, s: fleet.report(p, s)),
                Rule(f"{one}/consume", methods=["POST"], endpoint=lambda body, p, s: fleet.consume(p, s, _wh(body))),
                Rule(f"{one}/press", methods=["POST"], endpoint=lambda _, p, s: fleet.press(p, s)),
            ]
        )

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = LARGEST_BODY
        content, status = self._answer(request)
        response = Response(json.dumps(content, ensure_ascii=False), status=status, mimetype="application/json")
        return response(environ, start_response)

    def _answer(self, request: Request) -> tuple[Any, int]:
        try:
            endpoint: Callable[..., Any]
            endpoint, arguments = self._routes.bind_to_environ(request.environ).match()
            return endpoint(_body(request), **arguments) or {}, 200
        except HTTPException as refused:
            return {"error": refused.description}, refused.code or 500
        except WrongDefinitionError as error:
            return {"error": str(error)}, 400
        except UnknownMeterError as error:
            return {"error": str(error)}, 404


def _body(request: Request) -> Any:
    try:
        return json.loads(request.get_data() or b"{}")
    except ValueError:
        raise BadRequest("not JSON") from None


def _a_list(body: Any) -> list[dict[str, Any]]:
    if not isinstance(body, list) or not all(isinstance(one, dict) for one in body):
        raise BadRequest("not a list of definitions")
    return body


def _an_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise BadRequest("not a JSON object")
    return body


def _wh(body: Any) -> int:
    wh = _an_object(body).get("wh")
    if type(wh) is not int or wh < 0:
        raise BadRequest("wh: not a number of watt-hours")
    return wh


class _Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Errors only."""
        if type == "error":
            super().log(type, message, *args)


def listening(fleet: Fleet, *, port: int = 0) -> BaseWSGIServer:
    """A threaded server, bound but not yet serving; port 0 takes a free one."""
    return make_server(HOST, port, Control(fleet), threaded=True, request_handler=_Quiet)
