"""The two vendors in a box, run in threads of this process, and a merchant's server that callbacks reach."""

import json
import threading
from contextlib import contextmanager

import pytest
import requests
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from sandbox.alipay import Alipay
from sandbox.server import running
from sandbox.wechat import WeChat
from sandbox.world import load_world

SPEED = 300  # the ladder's first steps take 50 ms instead of 15 s, Alipay's first 0.8 s


@pytest.fixture(scope="session", autouse=True)
def _end_what_children_left():
    """Takes the place of the fixture that makes a database: the outside world has no use for ours."""


class Receiver:
    """A merchant's callback address: keeps what came and answers what it is told, the last answer for ever."""

    def __init__(self, url):
        self.url = url
        self.came = []
        self.answers = [(200, "success")]
        self.moved = threading.Condition()

    def __call__(self, environ, start_response):
        request = Request(environ)
        with self.moved:
            self.came.append((dict(request.headers), request.get_data()))
            status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.moved.notify_all()
        return Response(text, status=status)(environ, start_response)

    def wait_for(self, count, timeout_s=10):
        with self.moved:
            assert self.moved.wait_for(lambda: len(self.came) >= count, timeout_s), f"only {len(self.came)} came"
            return list(self.came)


class _Handler(WSGIRequestHandler):
    def log(self, *_args):
        pass


@contextmanager
def served(app, port=0):
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return load_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def receiver():
    made = Receiver("")
    with served(made) as url:
        made.url = f"{url}/payments/notify"
        yield made


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


class Control:
    """The control API of one sandbox."""

    def __init__(self, url, http):
        self.url, self._http = url, http

    def post(self, path, status=200, **body):
        answer = self._http.post(f"{self.url}/sandbox/{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, path):
        return self._http.get(f"{self.url}/sandbox/{path}").json()


@pytest.fixture
def wechat(world, http):
    with running(WeChat(world, speed=SPEED)) as url:
        yield Control(url, http)


@pytest.fixture
def alipay(world, http):
    with running(Alipay(world, speed=SPEED)) as url:
        yield Control(url, http)


def body_json(came):
    return json.loads(came[1])
