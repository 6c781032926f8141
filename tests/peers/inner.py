"""Puts packets on a tunnel interface as they are, however wrong: inner.py INTERFACE FILE, one packet in hex a line."""

import socket
import sys

INTERFACE, FILE = sys.argv[1:3]
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD

with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as raw, open(FILE) as lines:
    for line in lines:
        packet = bytes.fromhex(line)
        kind = ETH_P_IPV6 if packet and packet[0] >> 4 == 6 else ETH_P_IP
        try:
            raw.sendto(packet, (INTERFACE, kind))
        except OSError as error:
            print(f"{len(packet)} bytes: {error}")
