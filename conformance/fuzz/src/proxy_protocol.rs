//! PROXY headers: any octets, at every cut.
//!
//! Invariants: what stands at the front of an input is incomplete up to some octet and has one
//! outcome from there on, whatever follows; a header is eaten exactly; what was read says the same
//! once it is written and read again.

use gatepost_core::proxy_protocol::{HEADER_MAX, Look, look};

/// Octets of an input up to which each of its beginnings is looked at.
const EVERY_CUT: usize = 300;
/// Of a longer one every so many.
const STRIDE: usize = 61;

/// Looks at the input as a whole and in part.
pub fn proxy_protocol(data: &[u8]) {
    let outcome = look(data);
    let ends = (0..=data.len()).filter(|end| data.len() <= EVERY_CUT || end % STRIDE == 0);
    for end in ends {
        let earlier = look(&data[..end]);
        assert!(earlier == Look::Incomplete || earlier == outcome, "{end} octets: {earlier:?}");
    }
    match &outcome {
        Look::Incomplete => assert!(data.len() < HEADER_MAX, "nobody waits for more than that"),
        Look::Found { octets, header } => {
            assert!(*octets <= data.len().min(HEADER_MAX), "eaten beyond its end");
            assert_eq!(look(&data[..*octets]), outcome, "what follows counts");
            assert_eq!(look(&data[..octets - 1]), Look::Incomplete, "found before its end");
            let mut written = Vec::new();
            header.write(&mut written);
            let octets = written.len();
            assert!(octets <= HEADER_MAX, "more is written than anybody reads");
            written.extend_from_slice(data);
            let read = look(&written);
            assert_eq!(read, Look::Found { octets, header: header.clone() }, "it says another");
        }
        Look::Absent | Look::Broken(_) => {
            let longer = [data, &b"\r\n\0PROXY "[..]].concat();
            assert_eq!(look(&longer), outcome, "another outcome with more input");
        }
    }
}
