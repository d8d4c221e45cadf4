"""An SMTP server that writes a line of JSON for each mail into a file.

Usage: server.py ADDRESS PORT FILE. The file exists once the server listens.
"""

import asyncio
import email
import json
import sys

from aiosmtpd.smtp import SMTP


class Handler:
    def __init__(self, path):
        self.path = path

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content)
        line = {
            "helo": session.host_name,
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "subject": mail["Subject"],
            "headers": {"From": mail["From"], "To": mail["To"], "Date": mail["Date"]},
            "text": mail.get_payload(),
        }
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")
        return "250 OK"


async def main(address, port, path):
    handler = Handler(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, hostname="mail.example"), address, int(port)
    )
    open(path, "a").close()
    async with server:
        await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
