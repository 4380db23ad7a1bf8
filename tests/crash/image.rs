//! File systems in files, mounted through a loop device for one test. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted image; unmounted when dropped.
pub struct Image {
    folder: TempDir,
    kind: &'static str,
}

/// Runs a program to its end.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(text) } else { Err(format!("{program} {arguments:?}: {text}")) }
}

impl Image {
    /// A new file system of a kind, or `None`, loudly, where it cannot be had.
    pub fn new(kind: &'static str, megabytes: u64) -> Option<Self> {
        match Self::try_new(kind, megabytes) {
            Ok(image) => Some(image),
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none(), "{kind} on a loop device is needed here: {reason}");
                eprintln!("SKIPPED: needs root, loop devices and mkfs.{kind}: {reason}");
                None
            }
        }
    }

    fn try_new(kind: &'static str, megabytes: u64) -> Result<Self, String> {
        let image = Self { folder: TempDir::new().map_err(|error| error.to_string())?, kind };
        std::fs::create_dir(image.path()).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(image.file()).map_err(|error| error.to_string())?;
        file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
        run(&format!("mkfs.{kind}"), &["-q", &image.file().display().to_string()])?;
        image.mount()?;
        Ok(image)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Mounts it.
    pub fn mount(&self) -> Result<(), String> {
        let (file, path) = (self.file().display().to_string(), self.path().display().to_string());
        let options = if self.kind == "ext4" { "loop,errors=remount-ro" } else { "loop" };
        run("mount", &["-t", self.kind, "-o", options, &file, &path]).map(drop)
    }

    /// Changes how it is mounted.
    pub fn remount(&self, options: &str) -> Result<(), String> {
        run("mount", &["-o", &format!("remount,{options}"), &self.path().display().to_string()]).map(drop)
    }

    /// Makes ext4 believe that it has met an error: it turns read-only, with all files open.
    pub fn trigger_error(&self) -> Result<(), String> {
        let device = run("findmnt", &["-n", "-o", "SOURCE", &self.path().display().to_string()])?;
        let name = device.trim().rsplit('/').next().unwrap_or_default().to_owned();
        std::fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").map_err(|error| error.to_string())
    }

    /// Unmounts it; what the system still held of it in memory is gone.
    pub fn unmount(&self) -> Result<(), String> {
        run("umount", &[&self.path().display().to_string()]).map(drop)
    }

    /// Puts in another card with the same content: what was mounted is gone, whoever still has files of it open.
    pub fn replace(&self) -> Result<(), String> {
        run("umount", &["-l", &self.path().display().to_string()])?;
        let (file, copy) = (self.file(), self.folder.path().join("copy"));
        std::fs::copy(&file, &copy).and_then(|_| std::fs::rename(&copy, &file)).map_err(|error| error.to_string())?;
        self.mount()
    }

    /// Cuts the power: nothing more reaches the device, not even the journal.
    pub fn cut_power(&self) -> Result<(), String> {
        shut_down(&self.path())
    }
}

/// EXT4_IOC_SHUTDOWN, which XFS has too, without a flush of its log.
fn shut_down(path: &Path) -> Result<(), String> {
    run("xfs_io", &["-x", "-c", "shutdown", &path.display().to_string()]).map(drop)
}

impl Drop for Image {
    fn drop(&mut self) {
        // A test that fails may have left it frozen, and its server waiting for it.
        drop(run("fsfreeze", &["--unfreeze", &self.path().display().to_string()]));
        drop(run("umount", &["-l", &self.path().display().to_string()]));
    }
}
