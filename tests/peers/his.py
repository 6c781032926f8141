"""An HL7 receiver on python-hl7: keeps the exact bytes of every message and answers as told.

usage: his.py HOST PORT FOLDER

Messages go to FOLDER/NNNNNN.hl7, without framing. FOLDER/mode may say, at any time:
AA AE AR CA CE CR (the code), hang, close, die, garbage, wrong-id, slow.
"""

import asyncio
import os
import sys

import hl7
import hl7.mllp

HOST, PORT, FOLDER = sys.argv[1], int(sys.argv[2]), sys.argv[3]
count = 0


def mode():
    try:
        with open(os.path.join(FOLDER, "mode")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "AA"


def keep(block):
    global count
    count += 1
    path = os.path.join(FOLDER, f"{count:06}.hl7")
    # Renamed when complete, so that a reader never sees half a message.
    with open(path + ".part", "wb") as file:
        file.write(block)
    os.rename(path + ".part", path)


def acknowledgement(block, code, control=None):
    message = hl7.parse(block.decode("latin-1"))
    ack = message.create_ack(code)
    if control is not None:
        ack.assign_field(control, "MSA", 1, 2)
    return str(ack)


async def answer(block, writer):
    how = mode()
    if how == "hang":
        await asyncio.sleep(3600)
    elif how == "close":
        writer.close()
    elif how == "die":
        os._exit(1)
    elif how == "garbage":
        writer.writeblock(b"this is not HL7")
    elif how == "wrong-id":
        writer.writeblock(acknowledgement(block, "AA", "SOMETHING-ELSE").encode("latin-1"))
    elif how == "slow":
        text = b"\x0b" + acknowledgement(block, "AA").encode("latin-1") + b"\x1c\x0d"
        for byte in text:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.005)
    else:
        writer.writeblock(acknowledgement(block, how).encode("latin-1"))
    await writer.drain()


async def serve(reader, writer):
    try:
        while not reader.at_eof():
            block = await reader.readblock()
            keep(block)
            await answer(block, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    except hl7.mllp.InvalidBlockError:
        print("a frame that python-hl7 refuses", flush=True)
    finally:
        writer.close()


async def main():
    server = await hl7.mllp.start_hl7_server(
        serve, HOST, PORT, limit=256 << 20, encoding="latin-1"
    )
    async with server:
        await server.serve_forever()


asyncio.run(main())
