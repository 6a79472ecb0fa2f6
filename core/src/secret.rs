//! Bytes that must not be seen: passwords, tokens, SASL messages.
//!
//! A [`Secret`] prints as a placeholder in every build and is wiped when it is dropped. It says
//! nothing about its length either. It is not a cipher: whoever needs the bytes calls
//! [`Secret::expose`], and that word is what a reviewer looks for.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

/// Bytes that are wiped on drop and never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves, to be written to a backend or examined.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes.to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn debug_output_shows_neither_bytes_nor_length() {
        let short = Secret::from(&b"a"[..]);
        let long = Secret::from(&b"correct horse"[..]);
        assert_eq!(format!("{short:?}"), format!("{long:?}"));
        assert!(!format!("{long:?}").contains("horse"));
    }
}
