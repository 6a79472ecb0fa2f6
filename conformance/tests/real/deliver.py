"""Delivers a message by smtplib, to an unknown recipient too. PORT TLS AUTHORITY PROTOCOL RECIPIENT UNKNOWN SUBJECT BODY."""

import smtplib
import ssl
import sys

port, tls, authority, protocol, recipient, unknown, subject, body = sys.argv[1:]
if protocol == "lmtp":
    server = smtplib.LMTP("127.0.0.1", int(port), timeout=60)
elif tls == "implicit":
    context = ssl.create_default_context(cafile=authority)
    server = smtplib.SMTP_SSL("127.0.0.1", int(port), context=context, timeout=60)
else:
    server = smtplib.SMTP("127.0.0.1", int(port), timeout=60)
message = f"From: carol@elsewhere.test\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\n{body}"
refused = server.sendmail("carol@elsewhere.test", [recipient, unknown], message)
if list(refused) != [unknown]:
    raise SystemExit(f"refused: {refused}")
server.quit()
