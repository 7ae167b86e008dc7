//! The keys that tokens are signed with: Core's key file, which is pinned; where it cannot be read its key set; where neither can
//! be had the last good ones, which are kept in the home.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::core::{Core, Place};

/// Between two looks at the key file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same where a token was not signed by the keys that are known: a new key counts almost at once.
const ANEW_EVERY: Duration = Duration::from_millis(100);
/// Between two questions for the key set.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// A longer file is no key.
const LONGEST: u64 = 64 << 10;

/// Keys as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Material {
    /// A public key, in PEM.
    Pem(String),
    /// Modulus and exponent of each.
    Set(Vec<(String, String)>),
}

impl Material {
    fn keys(&self) -> Result<Vec<DecodingKey>, jsonwebtoken::errors::Error> {
        match self {
            Self::Pem(text) => Ok(vec![DecodingKey::from_rsa_pem(text.as_bytes())?]),
            Self::Set(set) => set.iter().map(|(n, e)| DecodingKey::from_rsa_components(n, e)).collect(),
        }
    }
}

/// Why there is no key.
#[derive(Debug, Clone, thiserror::Error)]
#[error("Core's key is not known, so no token can be checked: {0}")]
pub struct NoKey(String);

/// The keys that count now.
#[derive(Debug)]
pub struct Keys {
    core: Core,
    /// Where the last good ones are kept.
    kept: PathBuf,
    /// Held while it is looked.
    held: Mutex<Held>,
    latest: std::sync::Mutex<Option<Arc<Vec<DecodingKey>>>>,
}

#[derive(Debug, Default)]
struct Held {
    material: Option<Material>,
    keys: Arc<Vec<DecodingKey>>,
    looked: Option<Instant>,
    anew: Option<Instant>,
    asked: Option<Instant>,
    why_not: Option<String>,
}

/// What became of a look.
#[derive(Debug)]
pub struct Looked {
    /// The keys.
    pub keys: Arc<Vec<DecodingKey>>,
    /// They are others than before.
    pub changed: bool,
}

impl Keys {
    /// None yet; `instance` is the directory where the last good ones are kept.
    #[must_use]
    pub fn new(core: Core, instance: &Path) -> Self {
        Self {
            core,
            kept: instance.join("core-keys.json"),
            held: Mutex::default(),
            latest: Default::default(),
        }
    }

    /// The keys, read again where that is due. `anew`: something was not signed by those that are known.
    ///
    /// # Errors
    /// There are none.
    pub async fn look(&self, place: &Place, anew: bool) -> Result<Looked, NoKey> {
        let mut held = match self.held.try_lock() {
            Ok(held) => held,
            // Somebody looks, and Core may be slow: what is known counts until then.
            Err(_) if !anew && let Some(keys) = self.known() => return Ok(Looked { keys, changed: false }),
            Err(_) => self.held.lock().await,
        };
        let now = Instant::now();
        let due = |last: Option<Instant>, every| last.is_none_or(|last| now.duration_since(last) >= every);
        if held.material.is_none() {
            self.recall(&mut held).await;
        }
        let before = held.material.clone();
        if due(held.looked, LOOK_EVERY) || anew && due(held.anew, ANEW_EVERY) {
            held.looked = Some(now);
            if anew {
                held.anew = Some(now);
            }
            let found = match &place.key {
                Some(path) => pinned(path.clone(), self.core.own()).await,
                None => Err("services.json has no service `core` with a path".to_owned()),
            };
            match found {
                Ok(pem) => held.take(Material::Pem(pem)),
                Err(why) => {
                    let ask =
                        (held.keys.is_empty() || anew || matches!(held.material, Some(Material::Set(_))))
                            && due(held.asked, ASK_EVERY);
                    if ask {
                        held.asked = Some(now);
                        self.ask(place, why, &mut held).await;
                    }
                }
            }
        }
        if held.keys.is_empty() {
            return Err(NoKey(held.why_not.clone().unwrap_or_default()));
        }
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(held.keys.clone());
        let changed = held.material != before;
        if changed && let Some(material) = &held.material {
            keep(self.kept.clone(), material.clone()).await;
        }
        Ok(Looked { keys: held.keys.clone(), changed: changed && before.is_some() })
    }

    /// Those of the last look.
    fn known(&self) -> Option<Arc<Vec<DecodingKey>>> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was kept by an earlier helm-web.
    async fn recall(&self, held: &mut Held) {
        let (path, own) = (self.kept.clone(), self.core.own());
        if let Ok(text) = pinned(path, own).await
            && let Ok(material) = serde_json::from_str::<Material>(&text)
        {
            held.take(material);
        }
    }

    async fn ask(&self, place: &Place, no_file: String, held: &mut Held) {
        match self.core.key_set(place.port).await {
            Ok(set) => held.take(Material::Set(set.into_iter().map(|key| (key.n, key.e)).collect())),
            Err(e) => held.why_not = Some(format!("{no_file}; and {e}")),
        }
    }
}

impl Held {
    /// Takes them where they are keys, and others than before.
    fn take(&mut self, material: Material) {
        if self.material.as_ref() == Some(&material) {
            return;
        }
        match material.keys() {
            Ok(keys) if !keys.is_empty() => {
                self.keys = Arc::new(keys);
                self.material = Some(material);
                self.why_not = None;
            }
            Ok(_) => self.why_not = Some("Core's key set is empty".to_owned()),
            Err(e) => self.why_not = Some(format!("what Core has is no RSA key: {e}")),
        }
    }
}

/// The text of a file that only its owner writes, who is Helm's user or root.
async fn pinned(path: PathBuf, own: u32) -> Result<String, String> {
    let read = move || {
        let fault = |why: String| format!("{} {why}", path.display());
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0))
            .open(&path);
        let file = file.map_err(|e| fault(format!("cannot be read ({e})")))?;
        let facts = file.metadata().map_err(|e| fault(format!("cannot be looked at ({e})")))?;
        if !facts.is_file() || facts.len() > LONGEST {
            return Err(fault("is no key".to_owned()));
        }
        if facts.uid() != own && facts.uid() != 0 {
            return Err(fault(format!(
                "belongs to uid {}: whoever owns it makes tokens that count here",
                facts.uid()
            )));
        }
        if facts.mode() & 0o022 != 0 {
            return Err(fault("may be written by others: chmod go-w".to_owned()));
        }
        io::read_to_string(io::Read::take(file, LONGEST)).map_err(|e| fault(format!("cannot be read ({e})")))
    };
    spawn_blocking(read).await.unwrap_or_else(|e| Err(e.to_string()))
}

/// Keeps them for the next helm-web; without them it has to wait for Core.
async fn keep(path: PathBuf, material: Material) {
    let write = move || -> io::Result<()> {
        let text = serde_json::to_vec(&material)?;
        let next = path.with_extension("next");
        let _ = fs::remove_file(&next);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        io::Write::write_all(&mut file, &text)?;
        file.sync_all()?;
        fs::rename(&next, &path)
    };
    if let Err(e) = spawn_blocking(write).await.unwrap_or_else(|e| Err(io::Error::other(e))) {
        tracing::warn!("Core's key cannot be kept for the next start: {e}");
    }
}
