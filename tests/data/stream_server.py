"""A server of streams on 127.0.0.1, in a process of its own, that tests start and kill.

    python3 -m tests.data.stream_server PORT FILE FRAMES_PER_SECOND

/live: Motion JPEG, each frame brighter than the one before. /file: FILE, with byte ranges, at 60 kB a second.
/silent: a stream that sends no frame.
"""

import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    file: Path
    rate: float

    def do_GET(self):
        try:
            {"/live": self.send_live, "/silent": self.send_nothing}.get(self.path.partition("?")[0], self.send_file)()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def start_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()

    def send_live(self) -> None:
        self.start_stream()
        for number in range(100_000):
            picture = cv2.imencode(".jpg", np.full((48, 64, 3), 2 * number % 256, np.uint8))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            time.sleep(1 / self.rate)

    def send_nothing(self) -> None:
        self.start_stream()
        time.sleep(600)

    def send_file(self) -> None:
        data = self.file.read_bytes()
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or len(data) - 1)) if asked else (0, len(data) - 1)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        for start in range(first, last + 1, 6000):
            self.wfile.write(data[start : min(start + 6000, last + 1)])
            time.sleep(0.1)

    def log_message(self, *_):
        """Print nothing."""


if __name__ == "__main__":
    Handler.file, Handler.rate = Path(sys.argv[2]), float(sys.argv[3])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
