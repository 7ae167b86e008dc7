//! Who this helmd is among those that may share a database: drawn once for a home, and kept in `instance/store/identity.json`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use helm_store::id::Instance;
use helm_store::postgres::Registration;
use serde::{Deserialize, Serialize};

use crate::home::{Home, replace_durably};

const FILE: &str = "identity.json";

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 128 random bits, as 32 hexadecimal digits.
    pub uuid: String,
    /// The number it would like in a database.
    pub instance: Instance,
}

impl Identity {
    /// The one of the store in `dir`; drawn, where there is none. Blocking.
    pub fn of(dir: &Path) -> io::Result<Self> {
        match fs::read(dir.join(FILE)) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::draw(dir),
            Err(e) => Err(e),
        }
    }

    /// As whom it registers in a database, under the number `preferred` if that is free.
    pub fn registration(&self, home: &Home, preferred: Instance) -> Registration {
        Registration {
            uuid: self.uuid.clone(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            home: home.path().to_string_lossy().into_owned(),
            preferred,
        }
    }

    fn draw(dir: &Path) -> io::Result<Self> {
        let mut bits = [0; 18];
        File::open("/dev/urandom")?.read_exact(&mut bits)?;
        let uuid = bits[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let number = u16::from_be_bytes([bits[16], bits[17]]) % Instance::MAX + 1;
        let identity = Self { uuid, instance: Instance(number) };
        replace_durably(&dir.join(FILE), &serde_json::to_vec(&identity)?, 0o600)?;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_drawn_once() {
        let dir = tempfile::tempdir().unwrap();
        let drawn = Identity::of(dir.path()).unwrap();
        assert_eq!(Identity::of(dir.path()).unwrap(), drawn);
        assert_eq!(drawn.uuid.len(), 32);
        assert!((1..=Instance::MAX).contains(&drawn.instance.0));
    }
}
