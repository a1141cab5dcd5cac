"""The provider's side of the load, in a process of its own: signs callbacks, waits for the word, sends them.

Speaks with whoever started it by lines of JSON: a `Load` comes in, {"ready": n} goes out when all is signed, an empty
line lets it begin, and {"seconds", "statuses", "sent_at"} is the end. One thread over plain sockets, so that it takes
little from the two cores it shares with what it measures.
"""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from sandbox.wechat import signed_callback
from sandbox.world import load_world

CONNECTIONS = 32
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and whereto. `per_second` spaces callbacks out; 0 sends each as soon as a connection is free."""

    world: str
    port: int
    path: str
    attempts: list[str]
    amount_fen: int
    per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Sent:
    """How it went: how long it took, how often each status was answered, when each callback went out (epoch, s)."""

    seconds: float
    statuses: dict[str, int]
    sent_at: dict[str, float]


class Sender:
    """A process that holds signed callbacks and has not sent them yet."""

    def __init__(self, load: Load) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[1],
        )
        self._tell(json.dumps(asdict(load)))
        self._hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()

    def send(self) -> Sent:
        """Lets it send all, and waits until all is answered."""
        self._tell("")
        return Sent(**self._hear())

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the sender of callbacks died")
        heard: dict[str, Any] = json.loads(line)
        return heard


class Wire:
    """One keep-alive connection with at most one request on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""

    def answer(self) -> str:
        """The status of the answer once it is whole, else an empty text."""
        part = self.socket.recv(65536)
        if not part:
            raise RuntimeError("the web server hung up")
        self._heard += part
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return ""
        self._heard = b""
        return head.split(b" ", 2)[1].decode()


def main() -> None:
    load = Load(**json.loads(sys.stdin.readline()))
    requests = deque((number, _request(load, number)) for number in load.attempts)
    wires = [Wire(load.port) for _ in range(CONNECTIONS)]
    print(json.dumps({"ready": len(requests)}), flush=True)
    sys.stdin.readline()
    print(json.dumps(asdict(_send(requests, wires, load.per_second))), flush=True)


def _send(requests: deque[tuple[str, bytes]], wires: list[Wire], per_second: float) -> Sent:
    free, busy, statuses, sent_at = list(wires), 0, Counter[str](), dict[str, float]()
    with selectors.DefaultSelector() as selector:
        for wire in wires:
            selector.register(wire.socket, selectors.EVENT_READ, wire)
        begun = time.perf_counter()
        while requests or busy:
            while requests and free and time.perf_counter() >= _due(begun, len(sent_at), per_second):
                number, request = requests.popleft()
                sent_at[number] = time.time()
                free.pop().socket.sendall(request)
                busy += 1
            wait_s = _due(begun, len(sent_at), per_second) - time.perf_counter() if requests and free else PATIENCE_S
            heard = selector.select(max(wait_s, 0.0))
            if not heard and busy and wait_s == PATIENCE_S:
                raise RuntimeError(f"no answer within {PATIENCE_S} s")
            for key, _events in heard:
                if status := key.data.answer():
                    statuses[status] += 1
                    free.append(key.data)
                    busy -= 1
        return Sent(time.perf_counter() - begun, dict(statuses), sent_at)


def _due(begun: float, sent: int, per_second: float) -> float:
    return begun + sent / per_second if per_second else begun


def _request(load: Load, number: str) -> bytes:
    headers, body = signed_callback(load_world(Path(load.world)), out_trade_no=number, amount_fen=load.amount_fen)
    lines = [f"POST {load.path} HTTP/1.1", f"Host: 127.0.0.1:{load.port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


if __name__ == "__main__":
    main()
