//! An ext4 file system of its own, whose device and journal count what is written.

use std::path::{Path, PathBuf};
use std::process::Command;

const IMAGE_BYTES: u64 = 1 << 30;
const SECTOR_BYTES: u64 = 512;
const BLOCK_BYTES: f64 = 4096.0;

/// An ext4 file system in a file, whose loop device counts.
pub struct Image {
    device: String,
    pub folder: PathBuf,
}

/// What the file system's journal says of itself.
#[derive(Clone, Copy, Default)]
pub struct Journal {
    pub transactions: f64,
    /// Blocks that a transaction writes on average, its commit block aside.
    blocks: f64,
}

impl Journal {
    /// About what it has written: averages are rounded down.
    pub fn bytes(&self) -> f64 {
        self.transactions * (self.blocks + 1.0) * BLOCK_BYTES
    }
}

impl Image {
    pub fn mount(parent: &Path, name: &str) -> Self {
        let (file, folder) = (parent.join(format!("{name}.img")), parent.join(name));
        std::fs::create_dir(&folder).expect("writable");
        std::fs::File::create_new(&file).and_then(|image| image.set_len(IMAGE_BYTES)).expect("writable");
        // Without lazy initialisation, which would write in the background.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4").args(["-q", "-E", options]).arg(&file));
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&file)).trim().to_owned();
        run(Command::new("mount").arg(&device).arg(&folder));
        Self { device, folder }
    }

    /// Bytes written to the device so far.
    pub fn written(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/sys/block/{}/stat", self.name())).expect("a block device");
        let sectors: u64 = text.split_whitespace().nth(6).and_then(|field| field.parse().ok()).expect("a count");
        sectors * SECTOR_BYTES
    }

    /// What the journal says.
    pub fn journal(&self) -> Journal {
        let text = std::fs::read_to_string(format!("/proc/fs/jbd2/{}-8/info", self.name())).unwrap_or_default();
        let number = |ending: &str| {
            let line = text.lines().find(|line| line.contains(ending))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Journal {
            transactions: number(" transactions (").unwrap_or(0.0),
            blocks: number(" logged blocks per transaction").unwrap_or(0.0),
        }
    }

    pub fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(&self.folder));
    }

    fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?} (as root?): {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
