"""A server of CONNECT-IP (RFC 9484) made of aioquic, for one client; capsules are written here.

connect_ip_server.py --listen ADDRESS:PORT --cert FILE --key FILE --tun NAME --address INSIDE --mode MODE

MODE: `good` (an address and the route to INSIDE, which is on the TUN), or what no gateway does:
`wide` and `halves` (routes to everything), `lan` (address and routes of the client's own network), `endless` (another
address all the time), `skipped` (unknown capsules without end), `malformed` (an address of no version), `silent` (no answer),
`mute` (not even settings).
Says `listening`, `handshake GROUP`, `request PATH`, `closed CODE REASON`.
"""

import argparse
import asyncio
import fcntl
import ipaddress
import os
import struct
import sys

from aioquic.asyncio import serve
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, ProtocolNegotiated

from capsules import ADVERTISE, ASSIGN, DATAGRAM, FITS, capsule, ip, say, take_varint, varint

CLIENT = "10.65.0.7"
LAN = ("198.51.100.66", "198.51.100.70")


def range_of(first, last):
    """A route for all protocols, as ADVERTISE holds it."""
    first, last = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return bytes([first.version]) + first.packed + last.packed + b"\0"


def assigned(address, length):
    address = ipaddress.ip_address(address)
    return varint(0) + bytes([address.version]) + address.packed + bytes([length])


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0001 | 0x1000))
    ip("link", "set", name, "mtu", "1280", "up")
    return tun


class H3(H3Connection):
    def _get_local_settings(self):
        return {**super()._get_local_settings(), 0x08: 1, 0x33: 1}

    def _init_connection(self):
        if OPTIONS.mode != "mute":
            super()._init_connection()


class Server(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.h3 = None
        self.stream = None
        self.read = b""

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.h3 = H3(self._quic)
            self.transmit()
        if isinstance(event, HandshakeCompleted):
            say("handshake", event.alpn_protocol)
        if isinstance(event, ConnectionTerminated):
            say("closed", hex(event.error_code), event.reason_phrase)
            self.stream = None
        if self.h3 is None or OPTIONS.mode == "mute":
            return
        for said in self.h3.handle_event(event):
            if isinstance(said, HeadersReceived):
                headers = dict(said.headers)
                say("request", headers[b":protocol"].decode(), headers[b":path"].decode())
                self.stream = said.stream_id
                TUNNEL.client = self
                self.answer()
            elif isinstance(said, DataReceived):
                self.read += said.data
                self.capsules()
            elif isinstance(said, DatagramReceived) and said.data[:1] == b"\0":
                TUNNEL.write(said.data[1:])

    def answer(self):
        if OPTIONS.mode == "silent":
            return
        # A stream of no type that anybody knows, and more on it that looks like a second control stream (RFC 9114 6.2.3).
        unknown = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(unknown, varint(0x21))
        self.transmit()
        self._quic.send_stream_data(unknown, b"\0\4\0")
        self.h3.send_headers(self.stream, [(b":status", b"200"), (b"capsule-protocol", b"?1")])
        address, routes = assigned(CLIENT, 32), range_of(OPTIONS.address, OPTIONS.address)
        if OPTIONS.mode == "wide":
            routes = range_of("0.0.0.0", "255.255.255.255") + range_of("::", "ffff" + ":ffff" * 7)
        elif OPTIONS.mode == "halves":
            routes = range_of("1.0.0.0", "126.255.255.255") + range_of("128.0.0.0", "223.255.255.255")
        elif OPTIONS.mode == "lan":
            address, routes = assigned(LAN[1], 32) + address, range_of(OPTIONS.address, OPTIONS.address) + range_of(*LAN)
        elif OPTIONS.mode == "malformed":
            address = b"\0\5" + bytes(4) + b"\x20"
        self.h3.send_data(self.stream, capsule(0x1F77, b"unknown") + capsule(ASSIGN, address), False)
        self.h3.send_data(self.stream, capsule(ADVERTISE, routes), False)
        self.transmit()
        if OPTIONS.mode in ("endless", "skipped"):
            asyncio.ensure_future(self.go_on())

    async def go_on(self):
        number = 0
        while self.stream is not None:
            number += 1
            if OPTIONS.mode == "endless":
                data = capsule(ASSIGN, assigned(f"10.65.1.{number % 250}", 32))
            else:
                data = capsule(0x1F77, bytes(16_000))
            self.h3.send_data(self.stream, data, False)
            self.transmit()
            await asyncio.sleep(0.01)

    def capsules(self):
        while True:
            try:
                kind, rest = take_varint(self.read)
                length, rest = take_varint(rest)
            except IndexError:
                return
            if len(rest) < length:
                return
            payload, self.read = rest[:length], rest[length:]
            if kind == DATAGRAM and payload[:1] == b"\0":
                TUNNEL.write(payload[1:])

    def send_packet(self, packet):
        if len(packet) <= FITS:
            self.h3.send_datagram(self.stream, b"\0" + packet)
        else:
            self.h3.send_data(self.stream, capsule(DATAGRAM, b"\0" + packet), False)


class Tunnel:
    """The TUN, and the client that has it now."""

    def __init__(self, name, address):
        self.client = None
        self.tun = open_tun(name)
        ip("addr", "replace", f"{address}/32", "dev", name)
        ip("route", "replace", f"{CLIENT}/32", "dev", name)
        asyncio.get_running_loop().add_reader(self.tun, self.readable)

    def write(self, packet):
        try:
            os.write(self.tun, packet)
        except OSError as error:
            say("the kernel does not take", len(packet), error)

    def readable(self):
        client = self.client
        for _ in range(64):
            try:
                packet = os.read(self.tun, 2048)
            except OSError:
                break
            if client is not None and client.stream is not None:
                client.send_packet(packet)
        if client is not None:
            client.transmit()


async def main():
    global TUNNEL
    TUNNEL = Tunnel(OPTIONS.tun, OPTIONS.address)
    configuration = QuicConfiguration(
        is_client=False, alpn_protocols=["h3"], max_datagram_frame_size=65536, idle_timeout=20
    )
    configuration.load_cert_chain(OPTIONS.cert, OPTIONS.key)
    host, port = OPTIONS.listen.rsplit(":", 1)
    await serve(host, int(port), configuration=configuration, create_protocol=Server, retry=True)
    say("listening")
    await asyncio.Future()


parser = argparse.ArgumentParser()
for name in ("listen", "cert", "key", "tun", "address"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--mode", default="good")
OPTIONS = parser.parse_args()
TUNNEL = None
sys.exit(asyncio.run(main()))
