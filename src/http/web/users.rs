//! Users and their passwords. bcrypt takes a fraction of a second on purpose, so it runs on a blocking thread, a few at
//! a time; a good password is remembered as a keyed hash, so that a scrape every 15 s costs it once.
//!
//! An unknown name costs as much as a wrong password, and an address that fails too often waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::model::{Secret, decode_base64_digits};

/// Passwords that are checked at a time: the other cores belong to queries.
const CHECKS_MAX: usize = 2;
/// Good passwords that are remembered.
const REMEMBERED_MAX: usize = 256;
/// Failures that one address may have within [`FAILURE_TIME`].
const FAILURES_MAX: usize = 10;
/// How long a failure counts.
const FAILURE_TIME: Duration = Duration::from_secs(60);
/// Addresses whose failures are known; the one that failed longest ago goes first.
const ADDRESSES_MAX: usize = 1024;
/// The longest `Authorization` that is looked at.
const CREDENTIALS_BYTES_MAX: usize = 4096;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Admission {
    /// It may go on.
    Granted,
    /// Name or password are missing or wrong.
    Denied,
    /// Its address has failed too often.
    TooManyFailures,
}

/// Who may come in.
pub(in crate::http) struct Users {
    hashes: BTreeMap<String, Secret>,
    /// Keys the hashes of good passwords; new for each process and each reading of the file.
    key: hmac::Key,
    remembered: Mutex<VecDeque<hmac::Tag>>,
    checks: Arc<Semaphore>,
    failures: Mutex<HashMap<IpAddr, VecDeque<Instant>>>,
}

impl Users {
    pub(super) fn new(hashes: BTreeMap<String, Secret>) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self {
            hashes,
            key: key.expect("the kernel gives random bytes"),
            remembered: Mutex::default(),
            checks: Arc::new(Semaphore::new(CHECKS_MAX)),
            failures: Mutex::default(),
        }
    }

    /// Whether a request with these headers may go on. Without users all may.
    pub(in crate::http) async fn admit(&self, source: IpAddr, headers: &HeaderMap) -> Admission {
        if self.hashes.is_empty() {
            return Admission::Granted;
        }
        let Some((name, password)) = credentials(headers) else { return Admission::Denied };
        let message = message(&name, &password);
        if self.is_remembered(&message) {
            return Admission::Granted;
        }
        let source = network_of(source);
        // Counted before it is known, so that a flood at once is bounded as well.
        if !self.begin_attempt(source) {
            return Admission::TooManyFailures;
        }
        if !self.check(&name, password).await {
            return Admission::Denied;
        }
        self.forget_failures(source);
        self.remember(&message);
        Admission::Granted
    }

    async fn check(&self, name: &str, password: Vec<u8>) -> bool {
        let known = self.hashes.get(name);
        // Somebody's hash is as slow as the one that is not there.
        let Some(hash) = known.or_else(|| self.hashes.values().next()).cloned() else { return false };
        let permit = Arc::clone(&self.checks).acquire_owned().await.expect("the semaphore is never closed");
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            bcrypt::verify(&password, hash.expose()).unwrap_or(false)
        });
        checked.await.unwrap_or(false) && known.is_some()
    }

    fn is_remembered(&self, message: &[u8]) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // The comparison takes the same time wherever the tags differ.
        remembered.iter().any(|tag| hmac::verify(&self.key, message, tag.as_ref()).is_ok())
    }

    fn remember(&self, message: &[u8]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() == REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back(hmac::sign(&self.key, message));
    }

    fn begin_attempt(&self, source: IpAddr) -> bool {
        let now = Instant::now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&source) {
            let oldest = failures.iter().min_by_key(|(_, times)| times.back().copied()).map(|(source, _)| *source);
            oldest.and_then(|oldest| failures.remove(&oldest));
        }
        let times = failures.entry(source).or_default();
        while times.front().is_some_and(|time| now.duration_since(*time) >= FAILURE_TIME) {
            times.pop_front();
        }
        let is_allowed = times.len() < FAILURES_MAX;
        if is_allowed {
            times.push_back(now);
        }
        is_allowed
    }

    fn forget_failures(&self, source: IpAddr) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&source);
    }
}

/// Name and password of `Authorization: Basic …`.
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok().filter(|value| value.len() <= CREDENTIALS_BYTES_MAX)?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = decode_base64(encoded.trim())?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

/// Unambiguous: the name's length comes first.
fn message(name: &str, password: &[u8]) -> Vec<u8> {
    [&(name.len() as u64).to_be_bytes(), name.as_bytes(), password].concat()
}

/// A customer has a whole /64 of IPv6 addresses.
fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64))),
        address => address,
    }
}

/// Base64 in the standard alphabet, with its padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    decode_base64_digits(digits.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret` at the lowest cost.
    fn users() -> Users {
        let hash = bcrypt::hash("secret", 4).expect("a hash");
        Users::new([("alice".to_owned(), Secret::new(hash))].into())
    }

    fn headers(encoded: &str) -> HeaderMap {
        [(AUTHORIZATION, format!("Basic {encoded}").parse().expect("ASCII"))].into_iter().collect()
    }

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// alice:secret
    const RIGHT: &str = "YWxpY2U6c2VjcmV0";
    /// alice:wrong
    const WRONG: &str = "YWxpY2U6d3Jvbmc=";
    /// bob:secret
    const UNKNOWN: &str = "Ym9iOnNlY3JldA==";

    #[tokio::test]
    async fn names_and_passwords() {
        let users = users();
        for (encoded, expected) in [
            (RIGHT, Admission::Granted),
            (RIGHT, Admission::Granted),
            (WRONG, Admission::Denied),
            (UNKNOWN, Admission::Denied),
            ("", Admission::Denied),
            ("????", Admission::Denied),
            ("YWxpY2U", Admission::Denied),
            ("YWxpY2U=", Admission::Denied),
        ] {
            assert_eq!(users.admit(SOURCE, &headers(encoded)).await, expected, "{encoded}");
        }
        assert_eq!(users.admit(SOURCE, &HeaderMap::new()).await, Admission::Denied);
        assert_eq!(users.remembered.lock().expect("no panic").len(), 1);
        let open = Users::new(BTreeMap::new());
        assert_eq!(open.admit(SOURCE, &HeaderMap::new()).await, Admission::Granted);
    }

    #[tokio::test]
    async fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let users = users();
        let attacker: IpAddr = "2001:db8::1".parse().expect("an address");
        let neighbour: IpAddr = "2001:db8::2".parse().expect("an address");
        for _ in 0..FAILURES_MAX {
            assert_eq!(users.admit(attacker, &headers(WRONG)).await, Admission::Denied);
        }
        assert_eq!(users.admit(attacker, &headers(RIGHT)).await, Admission::TooManyFailures);
        assert_eq!(users.admit(neighbour, &headers(RIGHT)).await, Admission::TooManyFailures);
        assert_eq!(users.admit(SOURCE, &headers(RIGHT)).await, Admission::Granted);
        // Known by now: whoever has the password is not kept out by another behind the same address.
        assert_eq!(users.admit(attacker, &headers(RIGHT)).await, Admission::Granted);
        tokio::time::pause();
        tokio::time::advance(FAILURE_TIME).await;
        tokio::time::resume();
        assert_eq!(users.admit(attacker, &headers(WRONG)).await, Admission::Denied);
    }

    #[tokio::test]
    async fn addresses_are_bounded() {
        let users = users();
        for index in 0..ADDRESSES_MAX as u32 + 50 {
            assert!(users.begin_attempt(IpAddr::from((0x0a00_0000 + index).to_be_bytes())));
        }
        assert_eq!(users.failures.lock().expect("no panic").len(), ADDRESSES_MAX);
    }

    #[test]
    fn base64() {
        for (text, expected) in [
            ("", Some("")),
            ("YQ==", Some("a")),
            ("YWI=", Some("ab")),
            ("YWJj", Some("abc")),
            ("YQ=", None),
            ("=", None),
            ("Y===", None),
        ] {
            assert_eq!(decode_base64(text).as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }
}
