"""Connects imaplib as the arguments say: PORT TLS AUTHORITY USER PASSWORD."""

import imaplib
import ssl
import sys


def session():
    """A session that is logged in. Certificates are checked against the given authority alone."""
    port, tls, authority, user, password = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    if tls == "implicit":
        connection = imaplib.IMAP4_SSL("127.0.0.1", int(port), ssl_context=context, timeout=60)
    else:
        connection = imaplib.IMAP4("127.0.0.1", int(port), timeout=60)
    if tls == "starttls":
        expect(connection.starttls(context))
    expect(connection.login(user, password))
    return connection


def expect(answer):
    """The data of an answer that must be OK."""
    status, data = answer
    if status != "OK":
        raise SystemExit(f"{status} {data}")
    return data
