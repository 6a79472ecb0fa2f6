"""A visit to a mailbox of two messages: count, list, retrieve, top, delete. PORT TLS AUTHORITY USER PASSWORD."""

import poplib
import ssl
import sys

FIRST = [b"From: carol@example.test", b"Subject: dotted", b"", b".", b"..two", b".x", b"end"]

port, tls, authority, user, password = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if tls == "implicit":
    mailbox = poplib.POP3_SSL("127.0.0.1", int(port), context=context, timeout=60)
else:
    mailbox = poplib.POP3("127.0.0.1", int(port), timeout=60)
if tls == "starttls":
    mailbox.stls(context)


def same(found, wanted):
    if found != wanted:
        raise SystemExit(f"found {found!r} instead of {wanted!r}")


mailbox.user(user)
mailbox.pass_(password)
capabilities = mailbox.capa()
if "TOP" not in capabilities or "UIDL" not in capabilities:
    raise SystemExit(f"{capabilities}")
same(mailbox.stat()[0], 2)
same([line.split()[0] for line in mailbox.list()[1]], [b"1", b"2"])
same(len({line.split()[1] for line in mailbox.uidl()[1]}), 2)
same(mailbox.retr(1)[1], FIRST)
same(mailbox.top(1, 1)[1], FIRST[:4])
same(mailbox.retr(2)[1], [b"Subject: second", b"", b"short"])
mailbox.dele(2)
mailbox.rset()
same(mailbox.stat()[0], 2)
mailbox.dele(2)
mailbox.quit()
