//! A wall clock that is wrong for one process and may be set at any time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The clock of one process, through a library that is loaded into it.
pub struct WrongClock {
    library: PathBuf,
    setting: PathBuf,
}

impl WrongClock {
    /// Right at first. Built in `folder`.
    pub fn new(folder: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/support/wrong_clock.c");
        let clock = Self { library: folder.join("wrong_clock.so"), setting: folder.join("wrong_clock") };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.library).arg(source);
        let output = compiler.output().expect("a C compiler: apt-get install gcc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        clock.set(0, true);
        clock
    }

    /// Off by so many seconds. In place: the processes have it mapped.
    pub fn set(&self, seconds: i64, is_synchronised: bool) {
        let bytes = [seconds.to_ne_bytes(), i64::from(is_synchronised).to_ne_bytes()].concat();
        if fs::metadata(&self.setting).is_err() {
            fs::write(&self.setting, [0; 16]).unwrap();
        }
        let file = fs::OpenOptions::new().write(true).open(&self.setting).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    }

    /// What a process under this clock needs in its environment.
    pub fn environment(&self) -> [(&str, &str); 2] {
        [("LD_PRELOAD", self.library.to_str().unwrap()), ("WRONG_CLOCK", self.setting.to_str().unwrap())]
    }
}
