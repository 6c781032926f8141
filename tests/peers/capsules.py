"""Capsules of CONNECT-IP (RFC 9297, RFC 9484), for both ends that are made of aioquic."""

import ipaddress
import subprocess

DATAGRAM, ASSIGN, REQUEST, ADVERTISE, SERVICES = 0, 1, 2, 3, 0x4C5A5356
# What surely fits a datagram of a path of 1,200 bytes; larger packets go over the stream.
FITS = 1100


def say(*words):
    print(*words, flush=True)


def varint(value):
    for size, prefix in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if value < 1 << (8 * size - 2):
            return (value | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def take_varint(data):
    size = 1 << (data[0] >> 6)
    if len(data) < size:
        raise IndexError
    return int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1), data[size:]


def capsule(kind, payload):
    return varint(kind) + varint(len(payload)) + payload


def take_ip(data):
    length = {4: 4, 6: 16}[data[0]]
    return ipaddress.ip_address(data[1 : 1 + length]), data[1 + length :]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)
