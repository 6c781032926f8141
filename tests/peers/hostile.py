"""A client of the tunnel that breaks one rule after the other, made of aioquic: each attack on a connection of its own.

hostile.py --server HOST:PORT --name NAME --ca FILE --cert FILE --key FILE [--packets FILE] ATTACK…
ATTACK: a name of ATTACKS, `all-I-N` (every Nth of them, from the Ith), `NAME*COUNT` (so often, one after the other) or
`stall*COUNT` (so many handshakes at once, of which none is gone on with) or `inner` (a tunnel for the packets of a file,
one in hex each line; says `got HEX` of each that comes back, until it is killed).

Says what became of each, one line: `NAME closed CODE REASON`, `NAME reset CODE`, `NAME status CODE`, `NAME alive`,
`NAME sent` when nobody can know, `NAME nothing` when nothing happened in time; `end` at the end.
Sends frames of QUIC that aioquic would not send: those are written here.
"""

import argparse
import asyncio
import sys

import pylsqpack
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    DatagramFrameReceived,
    HandshakeCompleted,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)

from capsules import ADVERTISE, ASSIGN, DATAGRAM, FITS, REQUEST, capsule, say, take_varint, varint

# For what is answered after ten seconds, on a busy machine.
PATIENCE = 40
DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID, UNKNOWN = 0, 1, 3, 4, 5, 7, 13, 0x21
FIELDS = {
    ":method": "CONNECT",
    ":protocol": "connect-ip",
    ":scheme": "https",
    ":authority": "gateway.example.org",
    ":path": "/.well-known/masque/ip/*/*/",
    "capsule-protocol": "?1",
}


class Raw(bytes):
    """A frame of QUIC, its type first, to be sent as it is."""


class Attacker(QuicConnectionProtocol):
    def __init__(self, quic, stream_handler=None):
        super().__init__(quic, stream_handler)
        self.said = asyncio.get_running_loop().create_future()
        self.shaken = asyncio.Event()
        self.answers = {}
        self.asks = False
        self.sees = ()
        self.write_datagram = quic._write_datagram_frame
        quic._write_datagram_frame = self.write_frame

    def write_frame(self, builder, data, frame_type):
        if not isinstance(data, Raw):
            return self.write_datagram(builder, data, frame_type)
        kind, rest = take_varint(data)
        builder.start_frame(kind, capacity=len(data)).push_bytes(rest)
        return True

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            self.shaken.set()
        elif isinstance(event, ConnectionTerminated):
            self.shaken.set()
            self.tell("closed", event.error_code, event.reason_phrase)
        elif isinstance(event, (StreamReset, StopSendingReceived)) and event.stream_id % 4 == 0:
            if "reset" in self.sees:
                self.tell("reset", event.error_code)
        elif isinstance(event, StreamDataReceived) and event.stream_id % 4 == 0:
            self.answers[event.stream_id] = self.answers.get(event.stream_id, b"") + event.data
            if "status" in self.sees:
                self.status(event.stream_id)

    def status(self, stream):
        try:
            kind, rest = take_varint(self.answers[stream])
            length, rest = take_varint(rest)
        except IndexError:
            return
        if kind == HEADERS and len(rest) >= length:
            _, fields = pylsqpack.Decoder(0, 0).feed_header(stream, rest[:length])
            code = int(dict(fields)[b":status"])
            if code != 200:
                self.tell("status", code, decimal=True)

    def tell(self, what, code, *more, decimal=False):
        if not self.said.done():
            self.said.set_result((what, code if decimal else hex(code), *more))

    # What an attack is made of.

    def later(self, does):
        """Does it when what was sent before is there and answered."""

        async def wait():
            while self.asks and 0 not in self.answers:
                await self.ping()
            await self.ping()
            does()
            self.transmit()

        self.dripping = asyncio.ensure_future(wait())

    def on(self, stream, data, fin=False):
        self._quic.send_stream_data(stream, data, fin)

    def raw(self, *frames):
        self._quic._datagrams_pending.extend(Raw(frame) for frame in frames)

    def control(self, more=b"", settings=b"\x33\1"):
        self.on(2, b"\0" + frame(SETTINGS, settings) + more)

    def request(self, more=b"", fin=False, **other):
        self.asks = True
        self.control()
        self.on(0, headers(other) + more, fin)

    def tunnel(self, *capsules, fin=False):
        self.request(b"".join(frame(DATA, one) for one in capsules), fin)


def frame(kind, payload):
    return varint(kind) + varint(len(payload)) + payload


def section(fields):
    pairs = [(name.encode(), value.encode()) for name, value in fields]
    return pylsqpack.Encoder().encode(0, pairs)[1]


def headers(other=(), more=()):
    """A request for a tunnel, with other values; None: without the field."""
    fields = {**FIELDS, **{name.replace("_", "-") if name[0] != "_" else ":" + name[1:]: value for name, value in dict(other).items()}}
    return frame(HEADERS, section([(name, value) for name, value in fields.items() if value is not None] + list(more)))


def fields(payload):
    return lambda a: (a.control(), a.on(0, frame(HEADERS, payload)))


def twice(name):
    return lambda a: (a.control(), a.on(0, headers(more=[(name, FIELDS[name])])))


def control(more=b"", **settings):
    return lambda a: a.control(more, **settings)


def begins(stream, data, fin=False):
    return lambda a: (a.control(), a.on(stream, data, fin))


def tunnel(*capsules, fin=False):
    return lambda a: a.tunnel(*capsules, fin=fin)


def raw(*frames):
    return lambda a: a.raw(*frames)


def datagram(*content):
    """In an open tunnel."""

    def send(a):
        a.request()
        a.later(lambda: [a._quic.send_datagram_frame(one) for one in content])

    return send


def later(*frames):
    return lambda a: (a.request(), a.later(lambda: a.raw(*frames)))


def stream_frame(stream, offset, data, fin=False):
    return varint(0x0E | fin) + varint(stream) + varint(offset) + varint(len(data)) + data


def crypto_frame(offset, data):
    return varint(0x06) + varint(offset) + varint(len(data)) + data


def new_cid(number, retire):
    return varint(0x18) + varint(number) + varint(retire) + b"\x08" + number.to_bytes(8, "big") + number.to_bytes(16, "big")


def asked(number, prefix=32):
    return varint(number) + b"\x04" + bytes(4) + bytes([prefix])


def route(first, last):
    return b"\x04" + bytes(first) + bytes(last) + b"\0"


def loris(a):
    """A HEADERS frame of which a byte comes every half second."""
    a.control()

    async def drip():
        for byte in headers():
            if a.said.done():
                return
            a.on(0, bytes([byte]))
            a.transmit()
            await asyncio.sleep(0.5)

    a.dripping = asyncio.ensure_future(drip())


def no_settings(a):
    a.on(0, headers())


def unknown_streams(a):
    """Types that nobody knows, one stream after the other, as many at a time as there may be."""
    a.request()

    async def open_them():
        for number in range(A_THOUSAND):
            stream = 6 + 4 * number
            a.on(stream, varint(UNKNOWN) + b"x", True)
            a.transmit()
            for _ in range(500):
                known = a._quic._streams.get(stream)
                if known is None or not known.is_blocked or a.said.done():
                    break
                await asyncio.sleep(0.01)
            if a.said.done():
                return

    a.dripping = asyncio.ensure_future(open_them())


A_THOUSAND = 1000
SIX, TEN = [10, 6, 0, 0], [10, 10, 0, 0]

# Name, what is looked for, and how; what it must be stands in the scenario.
ATTACKS = {
    # SETTINGS and the control stream
    "first-no-settings": ("closed", begins(6, b"\0" + frame(GOAWAY, b"\0"))),
    "settings-twice": ("closed", control(frame(SETTINGS, b""))),
    "settings-of-http2": ("closed", control(settings=b"\x02\1")),
    "setting-twice": ("closed", control(settings=b"\x33\1\x33\1")),
    "setting-not-a-flag": ("closed", control(settings=b"\x33\2")),
    "setting-cut": ("closed", control(settings=b"\x33\1\x40")),
    "settings-endless": ("closed", lambda a: a.on(2, b"\0" + varint(SETTINGS) + varint(1 << 30))),
    "control-data": ("closed", control(frame(DATA, b"x"))),
    "control-headers": ("closed", control(headers())),
    "control-http2-ping": ("closed", control(frame(6, bytes(8)))),
    "goaway-grows": ("closed", control(frame(GOAWAY, b"\0") + frame(GOAWAY, b"\4"))),
    "goaway-two-numbers": ("closed", control(frame(GOAWAY, b"\0\0"))),
    "goaway-no-number": ("closed", control(frame(GOAWAY, b""))),
    "max-push-shrinks": ("closed", control(frame(MAX_PUSH_ID, b"\5") + frame(MAX_PUSH_ID, b"\4"))),
    "cancel-push": ("closed", control(frame(CANCEL_PUSH, b"\0"))),
    "control-fin": ("closed", lambda a: a.on(2, b"\0" + frame(SETTINGS, b"\x33\1"), True)),
    "control-reset": ("closed", later(varint(4) + varint(2) + varint(0x100) + varint(5))),
    "control-stopped": ("closed", later(varint(5) + varint(3) + varint(0x100))),
    "second-control": ("closed", begins(6, b"\0")),
    "push-stream": ("closed", begins(6, b"\1\0")),
    "unknown-frames": ("closed", control(frame(UNKNOWN, bytes(16_000)) * 70)),
    "unknown-streams": ("alive", unknown_streams),
    # QPACK
    "encoder-capacity": ("closed", begins(6, b"\2\x3f\1")),
    "encoder-insert": ("closed", begins(6, b"\2\xc1\1x")),
    "encoder-fin": ("closed", begins(6, b"\2", True)),
    "decoder-ack": ("closed", begins(6, b"\3\x84")),
    "fields-dynamic": ("closed", fields(b"\2\0\x80")),
    "fields-index": ("closed", fields(b"\0\0\xff\x40")),
    "fields-cut": ("closed", fields(b"\0\0\x51\x7f")),
    "fields-huffman": ("closed", fields(b"\0\0\x51\x84\xff\xff\xff\xff")),
    "fields-endless": ("closed", begins(0, varint(HEADERS) + varint(1 << 40))),
    # Requests
    "pseudo-twice": ("reset", twice(":path")),
    "pseudo-late": ("reset", fields(section([("a", "b"), *FIELDS.items()]))),
    "upper-case": ("reset", fields(section([*FIELDS.items(), ("Upper", "x")]))),
    "of-http1": ("reset", fields(section([*FIELDS.items(), ("connection", "close")]))),
    "no-path": ("reset", lambda a: a.request(_path=None)),
    "no-headers": ("reset", begins(0, b"", True)),
    "data-first": ("closed", begins(0, frame(DATA, b"x"))),
    "settings-in-request": ("closed", begins(0, frame(SETTINGS, b""))),
    "promise": ("closed", begins(0, frame(PUSH_PROMISE, b"\0"))),
    "frame-cut": ("closed", begins(0, headers()[:-3], True)),
    "connect-udp": ("status", lambda a: a.request(_protocol="connect-udp")),
    "websocket": ("status", lambda a: a.request(_protocol="websocket")),
    "get": ("status", lambda a: (a.control(), a.on(0, headers({"_method": "GET", "_protocol": None})))),
    "another-target": ("status", lambda a: a.request(_path="/.well-known/masque/ip/192.0.2.1/17/")),
    "second-tunnel": ("status", lambda a: (a.request(), a.on(4, headers()))),
    # Capsules and datagrams
    "headers-in-tunnel": ("closed", lambda a: a.request(headers())),
    "request-version": ("closed", tunnel(capsule(REQUEST, b"\1\5\0"))),
    "request-nothing": ("closed", tunnel(capsule(REQUEST, b""))),
    "request-twice": ("closed", tunnel(capsule(REQUEST, asked(1)), capsule(REQUEST, asked(1)))),
    "request-prefix": ("closed", tunnel(capsule(REQUEST, asked(1, 33)))),
    "request-many": ("closed", tunnel(*(capsule(REQUEST, asked(number)) for number in range(1, 70)))),
    "assign-cut": ("closed", tunnel(capsule(ASSIGN, b"\0\4\x0a"))),
    "routes-order": ("closed", tunnel(capsule(ADVERTISE, route(TEN, TEN) + route(SIX, SIX)))),
    "routes-backwards": ("closed", tunnel(capsule(ADVERTISE, route(TEN, SIX)))),
    "capsule-endless": ("closed", tunnel(varint(REQUEST) + varint(1 << 40))),
    "capsule-cut": ("closed", tunnel(varint(REQUEST) + varint(9) + b"\1", fin=True)),
    "capsule-no-context": ("closed", tunnel(capsule(DATAGRAM, b""))),
    "unknown-capsules": ("closed", tunnel(*[capsule(0x1F00, bytes(16_000))] * 70)),
    "datagram-empty": ("closed", datagram(b"")),
    "datagram-cut": ("closed", datagram(b"\x40")),
    "datagram-no-stream": ("closed", datagram(b"\xff" * 8)),
    "datagram-no-context": ("closed", datagram(b"\0")),
    "datagram-other-stream": ("alive", datagram(b"\x11\0x")),
    "datagram-garbage": ("alive", datagram(*(b"\0\0" + bytes([n] * 40) for n in range(256)))),
    # QUIC
    "stream-limit": ("closed", raw(stream_frame(4 * 400, 0, b"x"))),
    "stream-window": ("closed", raw(stream_frame(0, 1 << 20, b"x"))),
    "final-size": ("closed", raw(stream_frame(2, 9, b"", True), stream_frame(2, 20, b"x"))),
    "not-its-stream": ("closed", raw(stream_frame(3, 0, b"x"))),
    "window-of-mine": ("closed", raw(varint(0x11) + varint(2) + varint(9))),
    "unknown-quic-frame": ("closed", raw(varint(0x3F) + b"xx")),
    "handshake-done": ("closed", raw(varint(0x1E))),
    "new-token": ("closed", raw(varint(7) + varint(1) + b"x")),
    "retire-unknown": ("closed", raw(varint(0x19) + varint(1000))),
    "cids-too-many": ("closed", raw(*(new_cid(number, 0) for number in range(20, 30)))),
    # The gateway uses them, and they lead nowhere.
    "cids-retired": ("sent", raw(*(new_cid(number, number) for number in range(20, 5000)))),
    "path-challenges": ("alive", raw(*(varint(0x1A) + number.to_bytes(8, "big") for number in range(5000)))),
    "crypto-window": ("closed", raw(crypto_frame(1 << 20, b"x"))),
    "crypto-gaps": ("closed", raw(*(crypto_frame(at, b"x") for at in range(1, 16_000, 2)))),
    "stream-gaps": (
        "closed",
        raw(*(stream_frame(stream, at, b"x") for stream in (0, 2, 6, 10) for at in range(1, 60_000, 2))),
    ),
    # Those that wait
    "mute": ("closed", lambda a: None),
    "no-settings": ("closed", no_settings),
    "loris": ("closed", loris),
}


async def attack(name):
    """Whoever comes too often for its address is refused, and comes again."""
    for left in reversed(range(20)):
        try:
            return await attack_once(name)
        except ConnectionError as error:
            if not left:
                say(name, "not-connected", error)
        await asyncio.sleep(0.5)


async def attack_once(name):
    sees, does = ATTACKS[name]
    async with connect(*address(), configuration=configuration(), create_protocol=Attacker, wait_connected=True) as a:
        a.sees = (sees,)
        does(a)
        a.transmit()
        if sees == "sent":
            await asyncio.wait({a.said}, timeout=3)
            if not a.said.done():
                a.said.set_result(("sent",))
        if sees == "alive":
            while a._quic._datagrams_pending and not a.said.done():
                await asyncio.sleep(0.02)
            if hasattr(a, "dripping"):
                await asyncio.wait_for(a.dripping, 10 * PATIENCE)
            if not a.said.done():
                await asyncio.wait({asyncio.ensure_future(a.ping()), a.said}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if not a.said.done():
                a.said.set_result(("alive",))
        await asyncio.wait({a.said}, timeout=PATIENCE)
        say(name, *(a.said.result() if a.said.done() else ("nothing",)))


class Staller(Attacker):
    """Answers the Retry, and whatever follows never."""

    def connection_made(self, transport):
        super().connection_made(transport)
        send, sent = transport.sendto, []

        def few(data, to):
            sent.append(data)
            if len(sent) <= 2:
                send(data, to)

        self._transport = type("Few", (), {"sendto": staticmethod(few), "close": transport.close})()


async def stall():
    async with connect(*address(), configuration=configuration(), create_protocol=Staller, wait_connected=False) as a:
        a.transmit()
        await asyncio.wait({a.said}, timeout=STALL)
        if a.said.done():
            say("stall", *a.said.result())


STALL = 25


class Inner(Attacker):
    def quic_event_received(self, event):
        super().quic_event_received(event)
        if isinstance(event, DatagramFrameReceived) and event.data[:2] == b"\0\0":
            say("got", event.data[2:].hex())


async def inner():
    with open(OPTIONS.packets) as lines:
        packets = [bytes.fromhex(line) for line in lines]
    async with connect(*address(), configuration=configuration(), create_protocol=Inner) as a:
        a.request()
        while 0 not in a.answers:
            await a.ping()
        for number, packet in enumerate(packets):
            if len(packet) <= FITS and number % 2:
                a._quic.send_datagram_frame(b"\0\0" + packet)
            else:
                a.on(0, frame(DATA, capsule(DATAGRAM, b"\0" + packet)))
            a.transmit()
            await a.ping()
        say("sent", len(packets))
        await a.said
        say("inner", *a.said.result())


def address():
    host, port = OPTIONS.server.rsplit(":", 1)
    return host, int(port)


def configuration():
    made = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], max_datagram_frame_size=65536, server_name=OPTIONS.name, idle_timeout=60
    )
    made.load_verify_locations(OPTIONS.ca)
    if OPTIONS.cert:
        made.load_cert_chain(OPTIONS.cert, OPTIONS.key)
    return made


async def main():
    for wanted in OPTIONS.attacks:
        name, _, count = wanted.partition("*")
        if name == "stall":
            stalled = []
            for _ in range(int(count)):
                stalled.append(asyncio.ensure_future(stall()))
                # As fast as handshakes of one source are looked at.
                await asyncio.sleep(0.06)
            say("stalling")
            await asyncio.wait(stalled)
        elif name == "inner":
            await inner()
        elif name.startswith("all-"):
            first, of = map(int, name.split("-")[1:])
            for one in list(ATTACKS)[first::of]:
                await attack(one)
        else:
            for _ in range(int(count or 1)):
                await attack(name)
    say("end")


parser = argparse.ArgumentParser()
for option in ("server", "name", "ca"):
    parser.add_argument(f"--{option}", required=True)
for option in ("cert", "key", "packets"):
    parser.add_argument(f"--{option}")
parser.add_argument("attacks", nargs="+")
OPTIONS = parser.parse_args()
sys.exit(asyncio.run(main()))
