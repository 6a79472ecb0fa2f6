//! What a mail client asks about a message: its header fields, its envelope, its structure.
//!
//! Enough for messages that people write: fields may be folded, lines may end in LF, addresses may
//! have names, quotes, comments and groups' members. MIME is not taken apart: every message is one
//! part, described by its Content-Type if that is text and as text/plain if not. Total on any
//! octets: what makes no sense becomes NIL or is taken as it stands.

use super::store::Content;

/// Octets up to and with the first empty line, or all of them if there is none.
pub(super) fn header_length(bytes: &[u8]) -> usize {
    let mut start = 0;
    while let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[start..start + end];
        start += end + 1;
        if line.is_empty() || line == b"\r" {
            return start;
        }
    }
    bytes.len()
}

/// The fields of a header in order: name, and the whole field with its line ends.
pub(super) fn fields(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let line = rest[end..].iter().position(|byte| *byte == b'\n');
            end = line.map_or(rest.len(), |line| end + line + 1);
            if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (field, behind) = rest.split_at(end);
        rest = behind;
        let name = field.split(|byte| *byte == b':').next().unwrap_or_default();
        (!field.trim_ascii().is_empty()).then_some((name.trim_ascii_end(), field))
    })
}

/// The first field of that name, unfolded and trimmed.
pub(super) fn field(header: &[u8], name: &str) -> Option<Vec<u8>> {
    let (own, raw) = fields(header).find(|(own, _)| own.eq_ignore_ascii_case(name.as_bytes()))?;
    let colon = raw.iter().position(|byte| *byte == b':').unwrap_or(own.len());
    let value = raw.get(colon + 1..).unwrap_or_default();
    let unfolded: Vec<u8> =
        value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    Some(unfolded.trim_ascii().to_vec())
}

/// The fields of these names, or all but these, and an empty line.
pub(super) fn only_fields(header: &[u8], names: &[Vec<u8>], others: bool) -> Vec<u8> {
    let mut picked = Vec::new();
    for (name, raw) in fields(header) {
        if names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)) != others {
            picked.extend_from_slice(raw);
        }
    }
    picked.extend_from_slice(b"\r\n");
    picked
}

/// The ENVELOPE of RFC 3501 §7.4.2.
pub(super) fn envelope(header: &[u8]) -> Vec<u8> {
    let from = addresses(header, "From");
    let or_from = |name| addresses(header, name).or_else(|| from.clone());
    let parts = [
        nstring(field(header, "Date").as_deref()),
        nstring(field(header, "Subject").as_deref()),
        or_nil(from.clone()),
        or_nil(or_from("Sender")),
        or_nil(or_from("Reply-To")),
        or_nil(addresses(header, "To")),
        or_nil(addresses(header, "Cc")),
        or_nil(addresses(header, "Bcc")),
        nstring(field(header, "In-Reply-To").as_deref()),
        nstring(field(header, "Message-ID").as_deref()),
    ];
    let mut envelope = b"(".to_vec();
    envelope.extend_from_slice(&parts.join(&b' '));
    envelope.push(b')');
    envelope
}

/// BODY, or BODYSTRUCTURE with its extension fields.
pub(super) fn structure(content: &Content, extended: bool) -> Vec<u8> {
    let header = content.header();
    let declared = field(header, "Content-Type").unwrap_or_default();
    let declared = String::from_utf8_lossy(&declared).into_owned();
    let mut parts = declared.split(';').map(str::trim);
    let (kind, subtype) = parts.next().and_then(|kind| kind.split_once('/')).unwrap_or_default();
    let subtype = if kind.eq_ignore_ascii_case("text") { subtype } else { "plain" };
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map_or("us-ascii", |(_, value)| value.trim().trim_matches('"'));
    let encoding = field(header, "Content-Transfer-Encoding").unwrap_or_else(|| b"7bit".to_vec());

    let mut structure = b"(\"text\" ".to_vec();
    structure.extend_from_slice(&nstring(Some(subtype.as_bytes())));
    structure.extend_from_slice(b" (\"charset\" ");
    structure.extend_from_slice(&nstring(Some(charset.as_bytes())));
    structure.extend_from_slice(b") NIL NIL ");
    structure.extend_from_slice(&nstring(Some(&encoding)));
    let octets = content.bytes().len() - header.len();
    structure.extend_from_slice(format!(" {octets} {}", content.body_lines()).as_bytes());
    structure.extend_from_slice(if extended { b" NIL NIL NIL NIL)" } else { b")" });
    structure
}

/// A string as IMAP takes it: quoted, or a literal for what quoting cannot carry, or NIL.
pub(super) fn nstring(value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else {
        return b"NIL".to_vec();
    };
    if value.iter().any(|byte| !matches!(byte, b' '..=b'~')) || value.len() > 900 {
        let mut literal = format!("{{{}}}\r\n", value.len()).into_bytes();
        literal.extend_from_slice(value);
        return literal;
    }
    let mut quoted = vec![b'"'];
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}

fn or_nil(value: Option<Vec<u8>>) -> Vec<u8> {
    value.unwrap_or_else(|| b"NIL".to_vec())
}

/// An address list as `((name NIL mailbox host)…)`; None where the field is missing or names
/// nobody.
fn addresses(header: &[u8], name: &str) -> Option<Vec<u8>> {
    let value = field(header, name)?;
    let mut list = b"(".to_vec();
    for address in split_addresses(&value) {
        if let Some(address) = Address::parse(address) {
            address.write(&mut list);
        }
    }
    list.push(b')');
    (list.len() > 2).then_some(list)
}

/// Cuts at the commas (and the `:` and `;` of groups) that no quotes, brackets or comments enclose.
fn split_addresses(value: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut angle, mut comment) = (false, false, false, 0_usize);
    for (index, byte) in value.iter().enumerate() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match byte {
            b'\\' if quoted || comment > 0 => escaped = true,
            b'"' if comment == 0 => quoted = !quoted,
            b'(' if !quoted => comment += 1,
            b')' if !quoted => comment = comment.saturating_sub(1),
            b'<' if !quoted && comment == 0 => angle = true,
            b'>' if !quoted && comment == 0 => angle = false,
            b',' | b';' | b':' if !quoted && !angle && comment == 0 => {
                // The name of a group is no address.
                if *byte != b':' {
                    pieces.push(&value[start..index]);
                }
                start = index + 1;
            }
            _ => {}
        }
    }
    pieces.push(&value[start..]);
    pieces
}

struct Address {
    name: Option<Vec<u8>>,
    mailbox: Vec<u8>,
    host: Vec<u8>,
}

impl Address {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let angle = text.iter().rposition(|byte| *byte == b'<');
        let (name, address) = match angle {
            Some(angle) => {
                let inner = text[angle + 1..].strip_suffix(b">").unwrap_or(&text[angle + 1..]);
                (unquoted(&text[..angle]), inner)
            }
            None => match text.iter().position(|byte| *byte == b'(') {
                Some(comment) => {
                    let inside = &text[comment + 1..];
                    let inside = inside.strip_suffix(b")").unwrap_or(inside);
                    (unquoted(inside), &text[..comment])
                }
                None => (Vec::new(), text),
            },
        };
        let address = address.trim_ascii();
        let at = address.iter().rposition(|byte| *byte == b'@');
        let (mailbox, host) = match at {
            Some(at) => (&address[..at], &address[at + 1..]),
            None => (address, &b""[..]),
        };
        let name = (!name.is_empty()).then_some(name);
        (!mailbox.is_empty()).then(|| Self { name, mailbox: mailbox.to_vec(), host: host.to_vec() })
    }

    fn write(&self, list: &mut Vec<u8>) {
        list.push(b'(');
        list.extend_from_slice(&nstring(self.name.as_deref()));
        list.extend_from_slice(b" NIL ");
        list.extend_from_slice(&nstring(Some(&self.mailbox)));
        list.push(b' ');
        list.extend_from_slice(&nstring(Some(&self.host)));
        list.push(b')');
    }
}

/// A display name without its quotes and backslashes.
fn unquoted(name: &[u8]) -> Vec<u8> {
    let name = name.trim_ascii();
    let Some(inside) = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) else {
        return name.to_vec();
    };
    let mut plain = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
        plain.push(*byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HEADER: &[u8] = b"From: \"O'Hara, Kim\" <kim@example.org>\r\n\
        To: alice@example.com,\r\n\tteam: bob@example.com (Bob), carol@example.com;\r\n\
        Subject: A \"quoted\"\r\n  subject\r\nDate: Tue, 1 Jul 2003 10:52:37 +0200\r\n\r\n";

    #[test]
    fn fields_are_found_in_any_case_and_unfolded() {
        assert_eq!(field(HEADER, "SUBJECT").unwrap(), b"A \"quoted\"  subject");
        assert_eq!(field(HEADER, "Cc"), None);
        assert_eq!(fields(HEADER).count(), 4);
        assert_eq!(header_length(b"A: b\nC: d\n\nbody"), 11);
        assert_eq!(header_length(b"no end"), 6);
        let picked = only_fields(HEADER, &[b"date".to_vec()], false);
        assert_eq!(picked, b"Date: Tue, 1 Jul 2003 10:52:37 +0200\r\n\r\n");
        assert_eq!(only_fields(HEADER, &[b"nothing".to_vec()], true), HEADER);
    }

    #[test]
    fn an_envelope_names_people() {
        let envelope = String::from_utf8(envelope(HEADER)).unwrap();
        let kim = "((\"O'Hara, Kim\" NIL \"kim\" \"example.org\"))";
        assert_eq!(
            envelope,
            format!(
                "(\"Tue, 1 Jul 2003 10:52:37 +0200\" \"A \\\"quoted\\\"  subject\" {kim} {kim} \
                 {kim} \
                 ((NIL NIL \"alice\" \"example.com\")(\"Bob\" NIL \"bob\" \"example.com\")\
                 (NIL NIL \"carol\" \"example.com\")) NIL NIL NIL NIL)"
            )
        );
    }

    #[test]
    fn nothing_makes_it_panic() {
        for header in
            [&b""[..], b":", b"\n", b"From: <\r\n", b"From: \"\\", b"From:(((", b"To: @,<>,;:"]
        {
            let _ = envelope(header);
            let _ = only_fields(header, &[], true);
        }
    }
}
