"""Prints what Python's email package finds in messages, as JSON, one a line.

Usage: read.py compat32|default FILE...
"""

import email
import email.header
import email.policy
import email.utils
import gzip
import hashlib
import json
import sys

POLICY = {"compat32": email.policy.compat32, "default": email.policy.default}[sys.argv[1]]


def text(value):
    """A value as a person sees it; the default policy has decoded it already."""
    if value is None:
        return ""
    if POLICY is email.policy.compat32:
        value = str(value).replace("\r\n", "").replace("\n", "")
        return str(email.header.make_header(email.header.decode_header(value)))
    return str(value)


def people(msg, name):
    if name not in msg or msg[name] == "undisclosed-recipients:;":
        return []
    if POLICY is email.policy.default:
        return [{"Name": a.display_name, "Addr": a.addr_spec} for a in msg[name].addresses]
    value = str(msg[name]).replace("\r\n", "").replace("\n", "")
    return [{"Name": text(n), "Addr": a} for n, a in email.utils.getaddresses([value])]


def read(path):
    with open(path, "rb") as f:
        raw = f.read()
    if raw.partition(b"\r\n\r\n")[0].isascii():
        msg = email.message_from_bytes(raw, policy=POLICY)
    else:  # SMTPUTF8, which the parser of bytes is older than
        msg = email.message_from_string(raw.decode("utf-8"), policy=POLICY)
    found = {
        "From": people(msg, "From"),
        "To": people(msg, "To"),
        "Cc": people(msg, "Cc"),
        "ReplyTo": people(msg, "Reply-To"),
        "Subject": text(msg["Subject"]),
        "MessageID": text(msg["Message-ID"]),
        "Nasty": text(msg["X-Nasty"]),
        "Text": "",
        "HTML": "",
        "Files": [],
        "Defects": [repr(d) for d in msg.defects],
    }
    if POLICY is email.policy.default:
        for name, value in msg.items():
            found["Defects"] += [name + ": " + repr(d) for d in value.defects]
    walk(msg, found)
    return found


def walk(part, found):
    found["Defects"] += [repr(d) for d in part.defects]
    kind = part.get_content_type()
    if kind.startswith("multipart/"):
        for child in part.get_payload():
            walk(child, found)
        return
    disposition = part.get_content_disposition()
    if kind == "message/rfc822":
        content = part.get_payload(0).as_bytes(policy=POLICY.clone(linesep="\r\n"))
    else:
        content = part.get_payload(decode=True)
    if disposition is None:
        key = {"text/plain": "Text", "text/html": "HTML"}.get(kind)
        if key:
            found[key] = content.decode("utf-8").replace("\r\n", "\n")
        return
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    found["Files"].append({
        "Name": part.get_filename() or "",
        "Type": kind,
        "ID": text(part["Content-ID"]).strip("<>"),
        "Inline": disposition == "inline",
        "Sum": hashlib.sha256(content).hexdigest()[:16],
    })


for path in sys.argv[2:]:
    print(json.dumps(read(path)))
