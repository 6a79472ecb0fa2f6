"""Appends a message of 50 MiB, fetches it again and compares the two by SHA-256."""

import base64
import hashlib
import random

from connection import expect, session

MAILBOX = "large"
OCTETS = 50 * 1024 * 1024

# 57 octets make a line of 76 characters, or 78 with its end: a message as a mail program would write it.
lines = base64.encodebytes(random.Random(20).randbytes(OCTETS * 57 // 78 + 57)).replace(b"\n", b"\r\n")
head = b"Subject: large\r\nContent-Transfer-Encoding: base64\r\n\r\n"
message = (head + lines)[: OCTETS - 2] + b"\r\n"
assert len(message) == OCTETS

imap = session()
expect(imap.create(MAILBOX))
expect(imap.append(MAILBOX, None, None, message))
expect(imap.select(MAILBOX))
found = expect(imap.fetch("1", "(BODY.PEEK[])"))[0][1]
if hashlib.sha256(found).digest() != hashlib.sha256(message).digest():
    raise SystemExit(f"{len(found)} octets came back, and they are not what was sent")
expect(imap.close())
expect(imap.delete(MAILBOX))
imap.logout()
