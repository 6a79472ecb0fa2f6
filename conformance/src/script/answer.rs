//! What a lookup may be answered with, as a script writes it.
//!
//! Read next: `timeline`, for what comes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use gatepost_core::sasl::Login;
use gatepost_core::secret::Secret;
use gatepost_core::{Denial, Referral, SmtpCode};

use super::header::{Keys, parsed, span, text_of, yes_or_no};
use super::text::expand;
use super::timeline::Found;

/// `[USER] login=NAME:PASSWORD alert= at=ADDR:PORT`
pub(super) fn found(words: &[String]) -> Result<Found, String> {
    let (user, keys) = match words {
        [user, keys @ ..] if !user.contains('=') => (Some(expand(user)?.octets), keys),
        keys => (None, keys),
    };
    let mut keys = Keys::read(keys)?;
    let found = Found {
        user,
        login: keys.take("login", login)?,
        alert: keys.take("alert", text_of)?,
        at: keys.take("at", parsed::<SocketAddr>)?,
    };
    keys.finish()?;
    Ok(found)
}

/// `user= host= port=`
pub(super) fn referral(words: &[String]) -> Result<Referral, String> {
    let mut keys = Keys::read(words)?;
    let referral = Referral {
        user: keys.take("user", octets)?.ok_or("a referral wants user=")?,
        host: keys.take("host", text_of)?.ok_or("a referral wants host=")?,
        port: keys.take("port", parsed)?,
    };
    keys.finish()?;
    Ok(referral)
}

/// `text= code= judged= hold= last= challenge=`
pub(super) fn denial(words: &[String]) -> Result<Denial, String> {
    let mut keys = Keys::read(words)?;
    let denial = Denial {
        text: keys.take("text", octets)?.unwrap_or_default(),
        smtp_code: keys.take("code", smtp_code)?,
        judged: keys.take("judged", yes_or_no)?.unwrap_or(false),
        hold: keys.take("hold", span)?,
        last: keys.take("last", yes_or_no)?.unwrap_or(false),
        challenge: keys.take("challenge", octets)?,
    };
    keys.finish()?;
    Ok(denial)
}

fn login(text: &str) -> Result<Arc<Login>, String> {
    let (user, password) = text.split_once(':').ok_or("a login is NAME:PASSWORD")?;
    let password = Secret::new(expand(password)?.octets);
    Ok(Arc::new(Login::with_password(expand(user)?.octets, password)))
}

fn octets(text: &str) -> Result<Vec<u8>, String> {
    Ok(expand(text)?.octets)
}

fn smtp_code(text: &str) -> Result<SmtpCode, String> {
    SmtpCode::parse(text).ok_or_else(|| format!("{text:?} is no reply code that refuses"))
}
