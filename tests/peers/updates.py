"""Serves FOLDER/served over HTTPS with ranges. usage: updates.py HOST PORT FOLDER

FOLDER/break, if it exists, holds a number of bytes: the next longer answer ends after them, once.
FOLDER/ranges gets a line for each range that is asked for.
"""

import http.server
import os
import re
import ssl
import sys

host, port, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = os.path.join(folder, "served", os.path.basename(self.path))
        if not os.path.isfile(path):
            self.send_error(404)
            return
        size, start = os.path.getsize(path), 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and int(asked[1]) < size:
            start = int(asked[1])
            with open(os.path.join(folder, "ranges"), "a") as ranges:
                ranges.write(f"{os.path.basename(path)} {start}\n")
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.send_header("ETag", f'"{size}-{int(os.path.getmtime(path))}"')
        self.end_headers()
        self.send(path, start, size)

    def send(self, path, start, size):
        stop = size
        breaks = os.path.join(folder, "break")
        if os.path.exists(breaks) and size - start > int(open(breaks).read()):
            stop = start + int(open(breaks).read())
            os.remove(breaks)
        with open(path, "rb") as file:
            file.seek(start)
            while start < stop:
                piece = file.read(min(1 << 16, stop - start))
                self.wfile.write(piece)
                start += len(piece)
        self.close_connection = stop < size


server = http.server.ThreadingHTTPServer((host, port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
