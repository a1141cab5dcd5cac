"""What both vendors' servers share: HTTP, routes, the loopback control API, a state file, a clean end."""

import argparse
import json
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import BadRequest, Forbidden, HTTPException
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from sandbox.callbacks import Courier
from sandbox.faults import AnswerFault, Faults, UnknownFaultError
from sandbox.world import World, load_world

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LARGEST_BODY = 1 << 20
REQUESTS_KEPT = 5000
SAVE_EVERY_S = 0.2

Handler = Callable[..., Response]


class Box(ABC):
    """One vendor: its API, the control API under `/sandbox/`, its faults, its callbacks, its memory."""

    def __init__(self, world: World, *, faults: Faults, courier: Courier) -> None:
        self.world, self.faults, self.courier = world, faults, courier
        self.lock = threading.RLock()  # guards what the vendor remembers; never held while something is sent
        self.requests: deque[dict[str, Any]] = deque(maxlen=REQUESTS_KEPT)
        self.changes = 0
        self._routes = Map([*self._common_routes(), *self.routes()], strict_slashes=False)

    @abstractmethod
    def routes(self) -> Iterable[Rule]:
        """The vendor's paths and the control paths of its own, each with its handler as the endpoint."""

    @abstractmethod
    def answer(self, request: Request, handler: Handler, args: dict[str, Any]) -> Response:
        """Answers a request to the vendor's own API: checks, faults, signatures."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """What must survive a restart, without callbacks, as JSON."""

    @abstractmethod
    def restore(self, saved: dict[str, Any]) -> None:
        """Continues from a snapshot."""

    @abstractmethod
    def forget(self) -> None:
        """Forgets trades, people and tokens."""

    def changed(self) -> None:
        """Something happened that the state file should know."""
        self.changes += 1

    def close(self) -> None:
        """Stops the callbacks."""
        self.courier.close()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = LARGEST_BODY
        try:
            response = self._answer(request)
        except RequestRedirect as redirect:
            response = Response.force_type(redirect.get_response(environ))
        except HTTPException as refused:
            response = as_json({"error": refused.description}, status=refused.code or 500)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        handler, args = self._routes.bind_to_environ(request.environ).match()
        request.get_data(cache=True)  # read whole, so that the connection stays usable whatever the answer
        if not request.path.startswith("/sandbox/"):
            response = self.answer(request, handler, dict(args))
            self._note(request, response)
            return response
        if not ip_address(request.remote_addr or "0.0.0.0").is_loopback:  # a request without an address is nobody's
            raise Forbidden("the control API answers this machine only")
        try:
            return Response.force_type(handler(request, **args))
        except UnknownFaultError as error:
            raise BadRequest(str(error)) from None

    def _note(self, request: Request, response: Response) -> None:
        self.requests.append(
            {"at": time.time(), "method": request.method, "path": request.path, "status": response.status_code}
        )
        self.changed()

    def _common_routes(self) -> Iterator[Rule]:
        yield Rule("/sandbox/faults", methods=["GET", "POST", "DELETE"], endpoint=self._faults)
        yield Rule("/sandbox/callbacks", methods=["GET"], endpoint=self._callbacks)
        yield Rule("/sandbox/callbacks/release", methods=["POST"], endpoint=self._release)
        yield Rule("/sandbox/requests", methods=["GET"], endpoint=self._requests)
        yield Rule("/sandbox/reset", methods=["POST"], endpoint=self._reset)

    def _faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            self.faults.change(json_of(request))
        return as_json(self.faults.as_json())

    def _callbacks(self, request: Request) -> Response:
        return as_json({"callbacks": self.courier.log(request.args.get("out_trade_no", ""))})

    def _release(self, request: Request) -> Response:
        wanted = json_of(request)
        released = self.courier.release(wanted.get("out_trade_no", ""))
        if wanted.get("wait"):
            self.courier.wait(released)
        return as_json({"released": released})

    def _requests(self, request: Request) -> Response:
        part = request.args.get("path", "")
        return as_json({"requests": [r for r in self.requests if part in r["path"]]})

    def _reset(self, _request: Request) -> Response:
        with self.lock:
            self.forget()
        self.courier.forget()
        self.faults.clear()
        self.requests.clear()
        self.changed()
        return as_json({})


def as_json(content: Any, *, status: int = 200) -> Response:
    """A plain JSON answer."""
    return Response(json.dumps(content, ensure_ascii=False), status=status, mimetype="application/json")


def json_of(request: Request) -> dict[str, Any]:
    """The JSON object of a control request; an empty body is an empty object."""
    try:
        content = json.loads(request.get_data() or b"{}")
    except ValueError:
        raise BadRequest("not JSON") from None
    if not isinstance(content, dict):
        raise BadRequest("not a JSON object")
    return content


def hang_up(request: Request) -> None:
    """Ends the connection without an answer, as a timeout or a broken line looks to the client."""
    line: socket.socket = request.environ["werkzeug.socket"]
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("hung up on request")


def pause_for(fault: AnswerFault) -> None:
    """Sleeps as long as the fault says."""
    time.sleep(fault.delay_ms / 1000)


class _Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Errors only: the control API has a log of requests."""
        if type == "error":
            super().log(type, message, *args)


def listening(box: Box, *, host: str = "127.0.0.1", port: int = 0) -> BaseWSGIServer:
    """A threaded server for `box`, bound but not yet serving; port 0 takes a free one."""
    return make_server(host, port, box, threaded=True, request_handler=_Quiet)


@contextmanager
def running(box: Box, *, port: int = 0) -> Iterator[str]:
    """Serves `box` from a thread of this process and gives its address: for tests and notebooks."""
    server = listening(box, port=port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        box.close()


class StateFile:
    """Keeps what a box remembers in a JSON file: written soon after a change, whole or not at all."""

    def __init__(self, box: Box, path: Path) -> None:
        self._box, self._path, self._written = box, path, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state-file", daemon=True)

    def start(self) -> None:
        """Loads what is there and begins to save."""
        if self._path.exists():
            saved = json.loads(self._path.read_text())
            self._box.restore(saved["memory"])
            self._box.courier.restore(saved["callbacks"])
        self._thread.start()

    def stop(self) -> None:
        """Saves for the last time."""
        self._stop.set()
        self._thread.join()
        self._save()

    def _run(self) -> None:
        while not self._stop.wait(SAVE_EVERY_S):
            if self._box.changes != self._written:
                self._save()

    def _save(self) -> None:
        self._written = self._box.changes
        with self._box.lock:
            content = {"memory": self._box.snapshot(), "callbacks": self._box.courier.log()}
            text = json.dumps(content, ensure_ascii=False)
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(text)
        draft.replace(self._path)


def main(name: str, make_box: Callable[[World, float], Box]) -> None:
    """The command line of a sandbox server. Says `{"ready": name, "url": …}` on standard output, ends on SIGTERM."""
    parser = argparse.ArgumentParser(prog=f"python -m sandbox.{name}")
    parser.add_argument("--world", type=Path, required=True, help="folder of the keys (made when missing)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--speed", type=float, default=1.0, help="callbacks are repeated this many times faster")
    parser.add_argument("--state", type=Path, help="file that survives a restart")
    options = parser.parse_args()
    box = make_box(load_world(options.world.resolve()), options.speed)
    server = listening(box, host=options.host, port=options.port)
    state = StateFile(box, options.state) if options.state else None
    if state:
        state.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for serve_forever() to end, which this very thread is running.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    print(  # noqa: T201 - whoever started this process waits for the line
        json.dumps({"ready": name, "url": f"http://{options.host}:{server.server_port}"}), flush=True
    )
    server.serve_forever(poll_interval=0.1)
    box.close()
    if state:
        state.stop()
    server.server_close()
