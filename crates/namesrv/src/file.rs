// SPDX-License-Identifier: Apache-2.0
//! Small files that are replaced whole: written beside, synced, and put in place by rename, with the previous content kept
//! as `.bak`. Used for the key-value table, the settings and the roster. Knows nothing of what is in them.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Puts `content` in place of the file at `path`; a crash at any moment leaves a whole file at `path` or at its `.bak`.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let fresh = beside(path, ".tmp");
    let mut file = File::create(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    if path.exists() {
        fs::rename(path, beside(path, ".bak"))?;
    }
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}

/// Reads the file at `path` and parses it; where that fails, its `.bak`. `None` when neither was ever written.
pub(crate) fn read<T, E: std::fmt::Display>(
    path: &Path,
    parse: impl Fn(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, ReadError> {
    let mut damage = None;
    for candidate in [path.to_path_buf(), beside(path, ".bak")] {
        let refused = match fs::read(&candidate) {
            Ok(bytes) => match parse(&bytes) {
                Ok(content) => return Ok(Some(content)),
                Err(error) => error.to_string(),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => error.to_string(),
        };
        tracing::warn!(path = %candidate.display(), reason = refused, "file cannot be used");
        damage.get_or_insert(ReadError { path: candidate, reason: refused });
    }
    damage.map_or(Ok(None), Err)
}

/// Both the file and its backup are missing or damaged, and at least one is damaged.
#[derive(Debug, thiserror::Error)]
#[error("{} and its backup cannot be used: {reason}", path.display())]
pub struct ReadError {
    path: PathBuf,
    reason: String,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, String> {
        match bytes {
            [b'{', ..] => Ok(String::from_utf8_lossy(bytes).into_owned()),
            _ => Err("damaged".to_owned()),
        }
    }

    #[test]
    fn falls_back_to_the_backup_and_says_when_both_are_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/kv.json");
        assert!(read(&path, text).unwrap().is_none());
        replace(&path, b"{1}").unwrap();
        replace(&path, b"{2}").unwrap();
        assert_eq!(read(&path, text).unwrap().as_deref(), Some("{2}"));
        fs::write(&path, b"").unwrap();
        assert_eq!(read(&path, text).unwrap().as_deref(), Some("{1}"));
        // A crash between the two renames leaves only the backup.
        fs::remove_file(&path).unwrap();
        assert_eq!(read(&path, text).unwrap().as_deref(), Some("{1}"));
        fs::write(beside(&path, ".bak"), b"x").unwrap();
        assert!(read(&path, text).unwrap_err().to_string().contains("damaged"));
    }
}
