"""A client of CONNECT-IP (RFC 9484) made of aioquic, with a TUN of its own; capsules are written here.

connect_ip.py --server HOST:PORT --name NAME --ca FILE --cert FILE --key FILE --tun NAME [--spoof ADDRESS] [--garbage KIND]

Says what happens, one line each: `address PREFIX`, `route FIRST-LAST`, `service NAME …`, `up`, `status CODE`,
`closed CODE REASON`. Runs until the connection ends or it is killed. SIGUSR1: change to another local port (NAT rebinding).
SIGUSR2: connect again with the certificate that is in the file by now, beside the connection so far; the TUN stays.
"""

import argparse
import asyncio
import fcntl
import ipaddress
import os
import signal
import socket
import struct
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, ProtocolNegotiated

from capsules import ADVERTISE, ASSIGN, DATAGRAM, FITS, REQUEST, SERVICES, capsule, ip, say, take_ip, take_varint, varint

# Its descriptor, once there is one.
TUN = []


class H3(H3Connection):
    def _get_local_settings(self):
        return {**super()._get_local_settings(), 0x33: 1}


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.h3 = None
        self.stream = None
        self.read = b""
        self.ended = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, ProtocolNegotiated):
            self.h3 = H3(self._quic)
        if isinstance(event, HandshakeCompleted):
            say("handshake", event.alpn_protocol, "early" if event.early_data_accepted else "full")
        if isinstance(event, ConnectionTerminated):
            say("closed", hex(event.error_code), event.reason_phrase)
            if not self.ended.done():
                self.ended.set_result(None)
        if self.h3 is None:
            return
        for said in self.h3.handle_event(event):
            if isinstance(said, HeadersReceived):
                headers = dict(said.headers)
                say("status", headers.get(b":status", b"?").decode(), headers.get(b"capsule-protocol", b"").decode())
            elif isinstance(said, DataReceived):
                self.read += said.data
                self.capsules()
            elif isinstance(said, DatagramReceived) and said.data[:1] == b"\0":
                self.to_kernel(said.data[1:])
        if self.stream is None and self.h3.received_settings is not None:
            self.ask()

    def ask(self):
        settings = self.h3.received_settings
        say("settings", settings.get(0x08), settings.get(0x33))
        self.stream = self._quic.get_next_available_stream_id()
        self.h3.send_headers(
            self.stream,
            [
                (b":method", b"CONNECT"),
                (b":protocol", OPTIONS.protocol.encode()),
                (b":scheme", b"https"),
                (b":authority", OPTIONS.name.encode()),
                (b":path", b"/.well-known/masque/ip/%2A/%2A/"),
                (b"capsule-protocol", b"?1"),
            ],
        )
        if OPTIONS.garbage == "capsule":
            self.send(capsule(REQUEST, b"\x01\x05\x00"))
        elif OPTIONS.garbage == "frame":
            self._quic.send_stream_data(self.stream, varint(0x04) + varint(1) + b"\0")
        else:
            any4 = varint(1) + b"\x04" + bytes(4) + b"\x20"
            self.send(capsule(0x1F00, b"skip me") + capsule(REQUEST, any4))
        self.transmit()

    def send(self, data):
        self.h3.send_data(self.stream, data, False)

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
                say("over the stream", len(payload) - 1)
                self.to_kernel(payload[1:])
            elif kind == ASSIGN:
                self.assigned(payload)
            elif kind == ADVERTISE:
                self.advertised(payload)
            elif kind == SERVICES:
                self.services(payload)

    def assigned(self, data):
        while data:
            request, data = take_varint(data)
            address, data = take_ip(data)
            prefix, data = f"{address}/{data[0]}", data[1:]
            say("address", prefix, "for", request)
            if OPTIONS.tun and not address.is_unspecified:
                self.take_tun()
                ip("addr", "replace", prefix, "dev", OPTIONS.tun, *(["nodad"] if address.version == 6 else []))

    def advertised(self, data):
        while data:
            version = data[0]
            first, data = take_ip(data)
            last, data = take_ip(bytes([version]) + data)
            say("route", f"{first}-{last}", data[0])
            data = data[1:]
            for network in ipaddress.summarize_address_range(first, last):
                if OPTIONS.tun:
                    ip("route", "replace", str(network), "dev", OPTIONS.tun)
        say("up")
        if OPTIONS.spoof:
            self.spoof()

    def services(self, data):
        while data:
            length, data = take_varint(data)
            name, data = data[:length].decode(), data[length:]
            address, data = take_ip(data)
            protocol, first, last = struct.unpack(">BHH", data[:5])
            left, data = take_varint(data[5:])
            say("service", name, address, protocol, first, last, "for", left)

    def take_tun(self):
        """The TUN of this process; its packets go through this connection from now on."""
        if not TUN:
            TUN.append(os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK))
            fcntl.ioctl(TUN[0], 0x400454CA, struct.pack("16sH22x", OPTIONS.tun.encode(), 0x0001 | 0x1000))
            ip("link", "set", OPTIONS.tun, "mtu", "1280", "up")
        asyncio.get_running_loop().add_reader(TUN[0], self.from_kernel)

    def to_kernel(self, packet):
        if TUN:
            try:
                os.write(TUN[0], packet)
            except OSError as error:
                say("the kernel does not take", len(packet), error)

    def from_kernel(self):
        for _ in range(64):
            try:
                packet = os.read(TUN[0], 2048)
            except OSError:
                break
            self.send_packet(packet)
        self.transmit()

    def send_packet(self, packet):
        if len(packet) <= FITS:
            self.h3.send_datagram(self.stream, b"\0" + packet)
        else:
            self.send(capsule(DATAGRAM, b"\0" + packet))

    def spoof(self):
        """UDP to the HIS from the address of somebody else, in a datagram and in the stream."""
        packet = udp(OPTIONS.spoof, "10.20.2.10", b"not mine")
        for _ in range(3):
            self.h3.send_datagram(self.stream, b"\0" + packet)
        self.send(capsule(DATAGRAM, b"\0" + packet))
        self.transmit()


def udp(source, destination, payload):
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(destination)
    )
    total = sum(struct.unpack(">10H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack(">H", total ^ 0xFFFF) + head[12:]
    return head + struct.pack(">HHHH", 4000, 4000, 8 + len(payload), 0) + payload


async def main():
    again = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, again.set)
    sessions = {asyncio.ensure_future(session())}
    while sessions:
        asked = asyncio.ensure_future(again.wait())
        done, _ = await asyncio.wait({*sessions, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        sessions -= done
        for one in done - {asked}:
            one.result()
        if again.is_set():
            again.clear()
            sessions.add(asyncio.ensure_future(session()))


async def session():
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], max_datagram_frame_size=65536, server_name=OPTIONS.name, idle_timeout=20
    )
    configuration.load_verify_locations(OPTIONS.ca)
    if OPTIONS.keylog:
        configuration.secrets_log_file = open(OPTIONS.keylog, "w", buffering=1)
    if OPTIONS.cert:
        configuration.load_cert_chain(OPTIONS.cert, OPTIONS.key)
    host, port = OPTIONS.server.rsplit(":", 1)
    try:
        async with connect(host, int(port), configuration=configuration, create_protocol=Client) as client:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, rebind, client)
            await client.ended
    except ConnectionError as error:
        say("not connected", error)


def rebind(client):
    """The same connection from another local port, as when a router forgot the mapping."""
    loop = asyncio.get_running_loop()
    fresh = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    fresh.bind(("::", 0))

    async def move():
        transport, _ = await loop.create_datagram_endpoint(lambda: client, sock=fresh)
        client._transport = transport
        say("moved")
        await client.ping()
        say("pong")

    client.moving = asyncio.ensure_future(move())


parser = argparse.ArgumentParser()
for name in ("server", "name", "ca"):
    parser.add_argument(f"--{name}", required=True)
for name in ("cert", "key", "tun", "spoof", "garbage", "keylog"):
    parser.add_argument(f"--{name}")
parser.add_argument("--protocol", default="connect-ip")
OPTIONS = parser.parse_args()
sys.exit(asyncio.run(main()))
