"""A day in a mailbox: create, append, select, search, fetch, flag, copy, expunge, delete."""

import time

from connection import expect, session

MAILBOX = "everyday"


def message(number):
    return (
        f"From: carol@example.test\r\nSubject: number {number}\r\n\r\n"
        f"Body of {number}, with an umlaut: ö.\r\n"
    ).encode()


def same(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {found!r} instead of {wanted!r}")


imap = session()
expect(imap.create(MAILBOX))
for number in (1, 2, 3):
    expect(imap.append(MAILBOX, r"(\Flagged)" if number == 2 else None, time.time(), message(number)))
same(expect(imap.select(MAILBOX)), [b"3"])
same(expect(imap.search(None, "SUBJECT", '"number 3"')), [b"3"])
same(expect(imap.search(None, "FLAGGED")), [b"2"])
same(expect(imap.search("UTF-8", "BODY", "umlaut")), [b"1 2 3"])
for number in (1, 2, 3):
    same(expect(imap.fetch(str(number), "(BODY.PEEK[])"))[0][1], message(number))
expect(imap.store("1", "+FLAGS", r"(\Deleted)"))
same(expect(imap.expunge()), [b"1"])
expect(imap.copy("2", "INBOX"))
same(expect(imap.status(MAILBOX, "(MESSAGES)")), [f"{MAILBOX} (MESSAGES 2)".encode()])
expect(imap.close())
expect(imap.delete(MAILBOX))
imap.logout()
