//! Who may sign in: API tokens, local sessions, codes for them. In `instance/access.json`, as digests, over all lives of helmd.
//!
//! ```text
//! SignInCode --code--> helm-web --Identify--> session     helmctl token create --token--> Identify --> principal
//! ```

mod secret;
mod state;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use helm_core::access::Credential;

use crate::clock;
use crate::home::{Home, replace_durably};
use crate::work;
use secret::Digest;
use state::State;

pub use state::{Good, NotTaken, Session, Token};

/// What an API token begins with.
const PREFIX: &str = "helm_";
/// When something was used last is written down no more often.
const SAVE_EVERY: i64 = 60_000_000_000;

/// Handle; clones share it.
#[derive(Debug, Clone)]
pub struct Access(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    /// One writes at a time; when it was last.
    saved: tokio::sync::Mutex<i64>,
}

/// A random name that nobody guesses.
pub fn new_id() -> io::Result<String> {
    secret::unguessable()
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// There is nothing of that name.
    #[error("there is no {0} `{1}`")]
    Unknown(&'static str, String),
    /// There are too many.
    #[error("there are {} API tokens already: revoke some", state::TOKENS)]
    Full,
    /// It could not be written down.
    #[error("instance/access.json cannot be written ({0}): {1}")]
    NotWritten(io::Error, &'static str),
    /// The kernel gave no random bits.
    #[error("no random bits: {0}")]
    Random(#[from] io::Error),
}

impl Access {
    /// Of this home. A file that cannot be read is moved aside: whoever is in it signs in anew. Blocking.
    pub fn open(home: &Home) -> Self {
        let path = home.instance().join("access.json");
        let state = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(State::default()),
            Err(e) => Err(e),
        };
        let state = state.unwrap_or_else(|e| {
            let aside = path.with_extension("json.damaged");
            tracing::error!(
                "{} cannot be read ({e}): API tokens and local sessions are not known any more; it is kept as {}",
                path.display(),
                aside.display()
            );
            // What cannot be moved will be replaced.
            let _ = fs::rename(&path, &aside);
            State::default()
        });
        let saved = tokio::sync::Mutex::new(clock::wall().0);
        Self(Arc::new(Inner { path, state: Mutex::new(state), saved }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one step: nothing of it can be half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the token of this id is good for, if it still is.
    pub fn grant(&self, id: &str) -> Option<Credential> {
        self.state().grant(id, clock::wall().0)
    }

    /// A new token, and its secret, which is not kept.
    pub async fn create(
        &self,
        good: Good,
        lifetime: Option<i64>,
        by: String,
    ) -> Result<(String, Token), NotChanged> {
        let (now, secret) = (clock::wall().0, secret::new(PREFIX)?);
        let token = Token {
            id: secret::id()?,
            digest: Digest::of(&secret),
            good,
            created_at: now,
            created_by: by,
            expires_at: lifetime.map(|lifetime| now.saturating_add(lifetime)),
            used_at: None,
        };
        if !self.state().add_token(token.clone(), now) {
            return Err(NotChanged::Full);
        }
        if let Err(e) = self.save().await {
            self.state().revoke(&token.id);
            return Err(NotChanged::NotWritten(e, "no token was made"));
        }
        Ok((secret, token))
    }

    /// It is good for nothing from now on.
    pub async fn revoke(&self, id: &str) -> Result<Token, NotChanged> {
        let revoked = self.state().revoke(id);
        let revoked = revoked.ok_or_else(|| NotChanged::Unknown("API token", id.to_owned()))?;
        self.save().await.map_err(|e| {
            NotChanged::NotWritten(e, "the token is revoked, but a helmd that starts anew takes it again")
        })?;
        Ok(revoked)
    }

    /// A code for a session of this uid, and until when it is good.
    pub fn code(&self, uid: u32) -> Result<(String, i64), NotChanged> {
        let code = secret::new("")?;
        let expires_at = self.state().add_code(Digest::of(&code), uid, clock::wall().0);
        Ok((code, expires_at))
    }

    /// Uses a code up; whose it is.
    pub fn redeem(&self, code: &str, uid: Option<u32>) -> Result<u32, NotTaken> {
        self.state().redeem(&Digest::of(code), uid, clock::wall().0)
    }

    /// A session of this user, and its cookie, which is not kept.
    pub async fn begin(
        &self,
        uid: u32,
        user: String,
        agent: String,
    ) -> Result<(String, Session), NotChanged> {
        let (now, cookie) = (clock::wall().0, secret::new("")?);
        let (id, digest) = (secret::id()?, Digest::of(&cookie));
        let session = Session { id, digest, uid, user, agent, created_at: now, used_at: now };
        self.state().add_session(session.clone(), now);
        if let Err(e) = self.save().await {
            // A full disk is when somebody wants to look: it is good for as long as this helmd is.
            tracing::warn!("a local session could not be written down: {e}");
        }
        Ok((cookie, session))
    }

    /// Whose token this is.
    pub async fn token(&self, shown: &str) -> Result<Token, NotTaken> {
        let token = self.state().token(&Digest::of(shown), clock::wall().0).cloned()?;
        self.save_sometimes().await;
        Ok(token)
    }

    /// Whose session this is.
    pub async fn session(&self, shown: &str, uid: Option<u32>) -> Result<Session, NotTaken> {
        let session = self.state().session(&Digest::of(shown), uid, clock::wall().0).cloned()?;
        self.save_sometimes().await;
        Ok(session)
    }

    /// What the session of this cookie is called.
    pub fn session_of(&self, cookie: &str) -> Result<String, NotTaken> {
        let digest = Digest::of(cookie);
        let living = self.living().1.into_iter();
        let session = living.into_iter().find(|session| session.digest.is(&digest));
        session.map(|session| session.id).ok_or(NotTaken::Session)
    }

    /// Ends a session.
    pub async fn end(&self, id: &str) -> Result<Session, NotChanged> {
        let ended = self.state().end(id);
        let ended = ended.ok_or_else(|| NotChanged::Unknown("session", id.to_owned()))?;
        self.save().await.map_err(|e| {
            NotChanged::NotWritten(e, "the session is over, but a helmd that starts anew takes it again")
        })?;
        Ok(ended)
    }

    /// Tokens and sessions that are good, the newest first.
    pub fn living(&self) -> (Vec<Token>, Vec<Session>) {
        self.state().living(clock::wall().0)
    }

    async fn save(&self) -> io::Result<()> {
        let mut saved = self.0.saved.lock().await;
        self.write(&mut saved).await
    }

    /// That something was used may be lost for a minute.
    async fn save_sometimes(&self) {
        let Ok(mut saved) = self.0.saved.try_lock() else { return };
        if clock::wall().0.saturating_sub(*saved) < SAVE_EVERY {
            return;
        }
        if let Err(e) = self.write(&mut saved).await {
            tracing::warn!("when tokens and sessions were used could not be written down: {e}");
        }
    }

    async fn write(&self, saved: &mut i64) -> io::Result<()> {
        *saved = clock::wall().0;
        let text = serde_json::to_vec(&*self.state())?;
        let path = self.0.path.clone();
        work::ACCESS.run(move || replace_durably(&path, &text, 0o600)).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn good() -> Good {
        Good { name: "CI".into(), role: "admin".into(), purpose: String::new(), services: Vec::new() }
    }

    #[tokio::test]
    async fn tokens_and_sessions_outlive_helmd_and_codes_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let access = Access::open(&home);
        let (secret, token) = access.create(good(), None, "me".into()).await.unwrap();
        let (cookie, session) = access.begin(7, "ada".into(), String::new()).await.unwrap();
        let (code, _) = access.code(7).unwrap();
        let text = fs::read_to_string(home.instance().join("access.json")).unwrap();
        assert!(!text.contains(&secret) && !text.contains(&cookie), "{text}");
        let mode = fs::metadata(home.instance().join("access.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let next = Access::open(&home);
        assert_eq!(next.token(&secret).await.unwrap().id, token.id);
        assert_eq!(next.session(&cookie, Some(7)).await.unwrap().id, session.id);
        assert_eq!(next.redeem(&code, Some(7)), Err(NotTaken::Code));
        next.revoke(&token.id).await.unwrap();
        assert!(Access::open(&home).token(&secret).await.is_err());
    }

    #[tokio::test]
    async fn a_damaged_file_lets_nobody_in_and_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        fs::write(home.instance().join("access.json"), "{").unwrap();
        let access = Access::open(&home);
        assert!(access.living().0.is_empty());
        assert_eq!(fs::read(home.instance().join("access.json.damaged")).unwrap(), b"{");
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_written_down_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let access = Access::open(&home);
        fs::create_dir(home.instance().join("access.json.new")).unwrap();
        assert!(matches!(access.create(good(), None, String::new()).await, Err(NotChanged::NotWritten(..))));
        assert!(access.living().0.is_empty());
    }
}
