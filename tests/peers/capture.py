"""Captures what passes an interface: capture.py INTERFACE FILE [BYTES], until SIGINT. Says "listening" when it does.

The file is a classic pcap with the first 128 bytes of each frame, or so many. (tcpdump insists on changing its user, which a
namespace with one user does not allow.)
"""

import signal
import socket
import struct
import sys
import time

KEEP = int(sys.argv[3]) if len(sys.argv) > 3 else 128
ETH_P_ALL = 3

capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
capture.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
capture.bind((sys.argv[1], 0))
running = True


def stop(*_):
    global running
    running = False


signal.signal(signal.SIGINT, stop)
capture.settimeout(0.05)
with open(sys.argv[2], "wb") as file:
    file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, KEEP, 1))
    print("listening", flush=True)
    # Everything that came before the signal is still read after it.
    while True:
        try:
            frame = capture.recv(KEEP)
        except TimeoutError:
            if not running:
                break
            continue
        now = time.time()
        stamp = int(now), int(now % 1 * 1_000_000)
        file.write(struct.pack("=IIII", *stamp, len(frame), len(frame)) + frame)
