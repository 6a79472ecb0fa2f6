"""Submits a message by smtplib. PORT TLS AUTHORITY USER PASSWORD RECIPIENT SUBJECT BODY."""

import smtplib
import ssl
import sys

port, tls, authority, user, password, recipient, subject, body = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if tls == "implicit":
    server = smtplib.SMTP_SSL("127.0.0.1", int(port), context=context, timeout=60)
else:
    server = smtplib.SMTP("127.0.0.1", int(port), timeout=60)
if tls == "starttls":
    server.starttls(context=context)
server.login(user, password)
server.sendmail(user, [recipient], f"From: {user}\r\nTo: {recipient}\r\nSubject: {subject}\r\n\r\n{body}")
server.quit()
