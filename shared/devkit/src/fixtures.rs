//! Throw-away folders for tests: data folders, key files.
//!
//! Invariant: a folder is gone when its value is dropped.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::account::make_folder;

/// A new folder below the system's temp folder.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    #[expect(
        clippy::new_without_default,
        reason = "every call makes another folder: nothing about it is a default"
    )]
    pub fn new() -> Folder {
        let path = std::env::temp_dir().join(format!("wfp-test-{}", Uuid::now_v7().simple()));
        make_folder(&path).expect("the temp folder is writable");
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a service key may be made; every service of one test must be given the same.
    pub fn service_key(&self) -> PathBuf {
        self.0.join("service.key")
    }

    /// Where the catalog's master key may be made.
    pub fn master_key(&self) -> PathBuf {
        self.0.join("master.key")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
