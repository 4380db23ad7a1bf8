//! A small file of state that is replaced as a whole: either the old content is there or the new one, also after a
//! power cut. Damaged content is set aside, never deleted.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// State that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The file system refused.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path} cannot be understood; it was renamed to {aside}, and a new one is begun")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its new name.
        aside: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Keeps a `T` as JSON. Called from blocking threads.
#[derive(Debug)]
pub struct StateFile<T> {
    path: PathBuf,
    content: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Default> StateFile<T> {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), content: PhantomData }
    }

    /// What was kept last, the default if nothing was kept yet.
    pub fn load(&self) -> Result<T, StateFileError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
            Err(source) => return Err(io_error("read", &self.path)(source)),
        };
        serde_json::from_slice(&text).map_err(|source| {
            let aside = self.path.with_extension("damaged");
            match fs::rename(&self.path, &aside) {
                Ok(()) => StateFileError::Damaged { path: self.path.clone(), aside, source },
                Err(source) => io_error("rename", &self.path)(source),
            }
        })
    }

    /// Replaces what is kept. Durable once it returns.
    pub fn save(&self, content: &T) -> Result<(), StateFileError> {
        let new = self.path.with_extension("new");
        write_new(&new, content).map_err(io_error("write", &new))?;
        fs::rename(&new, &self.path).map_err(io_error("replace", &self.path))?;
        // The new name is durable once its folder is.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("sync", folder))
    }
}

fn write_new(path: &Path, content: &impl Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(content)?;
    text.push(b'\n');
    let mut file = File::create(path)?;
    file.write_all(&text)?;
    file.sync_all()
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateFileError {
    let path = path.to_owned();
    move |source| StateFileError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_comes_back_and_damage_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let file: StateFile<Vec<String>> = StateFile::new(&path);
        assert!(file.load().expect("nothing yet").is_empty());
        file.save(&vec!["long".repeat(9)]).expect("a writable folder");
        file.save(&vec!["a\n".to_owned()]).expect("a writable folder");
        assert_eq!(file.load().expect("what was saved"), ["a\n"]);

        let whole = fs::read(&path).expect("the file");
        fs::write(&path, &whole[..whole.len() / 2]).expect("the file");
        assert!(matches!(file.load(), Err(StateFileError::Damaged { .. })));
        assert!(path.with_extension("damaged").exists());
        assert!(file.load().expect("nothing any more").is_empty());
    }
}
