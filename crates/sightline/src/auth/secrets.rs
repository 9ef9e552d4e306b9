//! Secrets that people choose and that we make: which passwords are taken, how one is hashed, codes and tokens that nobody can guess.
//!
//! Does not belong here: comparing ([`super::argon2`]), keeping ([`crate::state`]).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::argon2::Hash;
use super::people::{Sum, TOKEN_PREFIX};
use crate::secret::Secret;

/// Of a password, in characters.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 10..=128;

/// Why a password is not taken. There are no rules of characters: they make people write it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too few characters.
    #[error("a password has 10 characters at least; four words that have nothing to do with each other are good")]
    Short,
    /// Too many.
    #[error("a password has 128 characters at most")]
    Long,
    /// It is the name, or the name and little else.
    #[error("the password is the name; choose one that nobody finds there")]
    IsName,
    /// One of those that are tried first.
    #[error("this password is one of those that everybody tries first; choose another")]
    Common,
}

/// Whether this may be the password of who is called so.
///
/// # Errors
/// [`Weak`].
pub fn check_password(password: &str, name: &str) -> Result<(), Weak> {
    let count = password.chars().count();
    if count > *PASSWORD_CHARS.end() {
        return Err(Weak::Long);
    }
    let plain = plain(password);
    // What everybody tries is mostly short: that says more than its length.
    if COMMON.lines().any(|known| known == plain) {
        return Err(Weak::Common);
    }
    if count < *PASSWORD_CHARS.start() {
        return Err(Weak::Short);
    }
    let name = self::plain(name);
    let rest = plain.replacen(&name, "", 1);
    let is_name = !name.is_empty() && plain.contains(&name) && rest.chars().count() <= 4;
    let is_one = plain.chars().all(|c| plain.starts_with(c));
    match (is_name, is_one) {
        (true, _) => Err(Weak::IsName),
        (_, true) => Err(Weak::Common),
        _ => Ok(()),
    }
}

fn plain(text: &str) -> String {
    text.trim().to_lowercase()
}

/// The hash of a password, with a salt that nothing else has. Takes 10 to 40 ms of a core.
///
/// # Errors
/// When the system has no random numbers.
pub fn hash(password: &str) -> Result<Hash, getrandom::Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    Ok(Hash::make(password, &salt))
}

/// A secret that nobody can guess, and what is kept of it.
fn made(bytes: &mut [u8], prefix: &str) -> Result<(Secret, Sum), getrandom::Error> {
    loop {
        getrandom::fill(bytes)?;
        let text = format!("{prefix}{}", URL_SAFE_NO_PAD.encode(&bytes));
        // Behind a flag that would be another flag.
        if !text.starts_with('-') {
            let sum = Sum::of(text.as_bytes());
            return Ok((Secret::new(text), sum));
        }
    }
}

/// What the cookie of a session holds: 256 bits.
///
/// # Errors
/// When the system has no random numbers.
pub fn session() -> Result<(Secret, Sum), getrandom::Error> {
    made(&mut [0; 32], "")
}

/// A token for programs: `slt_` and 128 bits.
///
/// # Errors
/// When the system has no random numbers.
pub fn token() -> Result<(Secret, Sum), getrandom::Error> {
    made(&mut [0; 16], TOKEN_PREFIX)
}

/// The code of a link, or the password of players: 128 bits.
///
/// # Errors
/// When the system has no random numbers.
pub fn code() -> Result<(Secret, Sum), getrandom::Error> {
    made(&mut [0; 16], "")
}

/// RFC 9106 §3.1 recommends 16.
const SALT_BYTES: usize = 16;
/// What is tried first by whoever guesses: long ones and short ones, so that each is told why it is not taken.
const COMMON: &str = include_str!("common_passwords.txt");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::argon2::{Answer, Budget};
    use rstest::rstest;
    use std::time::Instant;

    #[rstest]
    #[case("correct horse battery", "anna", Ok(()))]
    #[case("ngắn quá đi mà thôi", "anna", Ok(()))]
    #[case("short", "anna", Err(Weak::Short))]
    #[case("annaannaanna", "annaannaanna", Err(Weak::IsName))]
    #[case("Sightline Anna1234", "sightline anna", Err(Weak::IsName))]
    #[case("password123", "anna", Err(Weak::Common))]
    #[case("PASSWORD123", "anna", Err(Weak::Common))]
    #[case("qwerty", "anna", Err(Weak::Common))]
    #[case("aaaaaaaaaaaa", "anna", Err(Weak::Common))]
    fn passwords(#[case] password: &str, #[case] name: &str, #[case] expected: Result<(), Weak>) {
        assert_eq!(check_password(password, name), expected);
    }

    #[test]
    fn limits_are_in_characters() {
        let long = |count: usize| "ậ1".repeat(count / 2);
        assert_eq!(check_password(&long(10), "anna"), Ok(()));
        assert_eq!(check_password(&long(128), "anna"), Ok(()));
        assert_eq!(check_password(&long(130), "anna"), Err(Weak::Long));
        assert_eq!(check_password("ậ12345678", "anna"), Err(Weak::Short));
    }

    #[test]
    fn two_hundred_that_everybody_tries() {
        let lines: Vec<&str> = COMMON.lines().collect();
        assert_eq!(lines.len(), 200);
        assert!(lines.iter().all(|line| plain(line) == **line && !line.is_empty()));
        let mut unique = lines.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 200);
    }

    #[test]
    fn a_hash_is_that_of_the_design_and_fits_its_password_alone() {
        let hash = hash("correct horse battery").unwrap();
        let text = hash.text();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let again = Hash::read(&text).unwrap();
        assert!(again == hash && self::hash("correct horse battery").unwrap() != hash);
        let (budget, now) = (Budget::default(), Instant::now());
        assert_eq!(again.matches("correct horse battery", &budget, now), Answer::Yes);
        assert_eq!(again.matches("correct horse batterY", &budget, now), Answer::No);
    }

    #[test]
    fn what_we_make_nobody_guesses() {
        let ((session, sum), (token, _), (code, _)) = (session().unwrap(), token().unwrap(), code().unwrap());
        assert_eq!(
            (session.expose().len(), token.expose().len(), code.expose().len()),
            (43, 26, 22)
        );
        assert!(token.expose().starts_with("slt_") && sum == Sum::of(session.expose().as_bytes()));
        assert!((0..2_000).all(|_| !super::code().unwrap().0.expose().starts_with('-')));
    }
}
