"""Requests as bytes on a socket, and answers as the standard library reads them: nothing is normalised on the way out."""
import http.client
import socket


class Answer:
    """Status, header fields in lower case in their order, body."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes):
        self.status, self.body = response.status, body
        self.headers = [(name.lower(), value) for name, value in response.getheaders()]
        self.will_close = response.will_close

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Connection:
    """A kept connection to a port of this machine; opened anew when the other end closed it."""

    def __init__(self, port: int, host: str):
        self.port, self.host, self.socket = port, host, None

    def send(self, method: str, target: str, headers=(), body: bytes | None = None) -> Answer:
        """Sends one request: `target` and `headers` byte for byte, in UTF-8."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}", *(f"{name}: {value}" for name, value in headers)]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        data = ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")
        for attempt in (0, 1):
            if self.socket is None:
                self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            try:
                return self.exchange(method, data)
            except (http.client.RemoteDisconnected, ConnectionError):
                # It may close an idle connection; on a new one that is an answer.
                self.close()
                if attempt:
                    raise
        raise AssertionError("unreachable")

    def exchange(self, method: str, data: bytes) -> Answer:
        self.socket.sendall(data)
        response = http.client.HTTPResponse(self.socket, method=method.upper())
        response.begin()
        answer = Answer(response, response.read())
        if answer.will_close:
            self.close()
        return answer

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
