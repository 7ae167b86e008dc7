//! Tokens whose signature was found good: to check it costs more than all the rest of a short request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonwebtoken::DecodingKey;

use super::claims::Claims;
use super::sessions::{Fingerprint, fingerprint};

/// Tokens that are remembered. Only good ones are, so nobody else can fill it; when it is full it begins anew.
const MOST: usize = 4096;

/// What is remembered. It holds for the keys that the signatures were checked with, and until a token expires.
#[derive(Debug, Default)]
pub struct Verified(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    keys: Option<Arc<Vec<DecodingKey>>>,
    claims: HashMap<Fingerprint, Claims>,
}

impl Verified {
    /// What this token says, if it was found good with these keys and lasts beyond `now` (seconds since 1970).
    pub fn recall(&self, token: &str, keys: &Arc<Vec<DecodingKey>>, now: i64) -> Option<Claims> {
        let held = self.held();
        if !held.keys.as_ref().is_some_and(|known| Arc::ptr_eq(known, keys)) {
            return None;
        }
        held.claims.get(&fingerprint(token)).filter(|claims| claims.expires() > now).cloned()
    }

    /// This token was found good with these keys.
    pub fn keep(&self, token: &str, keys: &Arc<Vec<DecodingKey>>, claims: &Claims) {
        let mut held = self.held();
        let same = held.keys.as_ref().is_some_and(|known| Arc::ptr_eq(known, keys));
        if !same || held.claims.len() >= MOST {
            *held = Held { keys: Some(keys.clone()), claims: HashMap::new() };
        }
        held.claims.insert(fingerprint(token), claims.clone());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use helm_core::name::ServiceName;

    use super::*;

    #[test]
    fn a_token_is_known_by_the_keys_it_was_checked_with_until_it_expires() {
        let (verified, keys) = (Verified::default(), Arc::new(Vec::new()));
        let claims = Claims::Service { calling: ServiceName::new("codex").unwrap(), expires: 100 };
        assert_eq!(verified.recall("token", &keys, 50), None);
        verified.keep("token", &keys, &claims);
        assert_eq!(verified.recall("token", &keys, 99), Some(claims));
        assert_eq!(verified.recall("token", &keys, 100), None);
        assert_eq!(verified.recall("another", &keys, 99), None);
        assert_eq!(verified.recall("token", &Arc::new(Vec::new()), 99), None, "other keys");
    }
}
