//! What the service manager is told: the lines of sd_notify(3), sent to the datagram socket that `NOTIFY_SOCKET` names.
//!
//! Without that variable nothing is sent. A line that cannot be sent is dropped: the manager that does not take it is
//! the one that decides what follows from silence.
//!
//! The watchdog is fed only after a round through everything that can hang: a timer of the event loop, a free thread
//! for blocking work, and the store's locks. A disk that fails is no reason to be silent, since a restart would throw
//! away what memory holds for it; the status line says it instead.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

/// Rounds per watchdog interval: one that comes late does not end the process.
const ROUNDS_PER_INTERVAL: u32 = 3;

/// The service manager, or nobody.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    watchdog: Option<Duration>,
}

/// What the status line says of the server.
pub type Problems = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

impl Supervisor {
    /// The one that started this process.
    pub fn from_environment() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let watchdog = watchdog_interval(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID"), std::process::id());
        match connect(&address) {
            Ok(socket) => Self { socket: Some(Arc::new(socket)), watchdog },
            Err(error) => {
                tracing::warn!(socket = %address.display(), %error, "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// Queries are answered, and the configuration in force is the one asked for.
    pub fn tell_ready(&self) {
        self.send("READY=1\nSTATUS=scraping");
    }

    /// The configuration is being loaded anew; [`Supervisor::tell_ready`] ends that, whatever came of it.
    pub fn tell_reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=loading the configuration"));
    }

    /// The end has begun.
    pub fn tell_stopping(&self) {
        self.send("STOPPING=1\nSTATUS=writing the last samples");
    }

    /// Feeds the watchdog for as long as rounds end; returns at once where there is none.
    pub async fn feed_watchdog(self, problems: Problems) {
        let Some(interval) = self.watchdog else { return };
        let mut ticks = tokio::time::interval(interval / ROUNDS_PER_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let look = Arc::clone(&problems);
            let Ok(found) = spawn_blocking(move || look()).await else { return };
            self.send(&format!("WATCHDOG=1\nSTATUS={}", status(&found)));
        }
    }

    fn send(&self, lines: &str) {
        let Some((socket, address)) = self.socket.as_deref() else { return };
        if let Err(error) = socket.send_to_addr(lines.as_bytes(), address) {
            tracing::debug!(%error, "the service manager took no message");
        }
    }
}

/// One line, since a line ends the value.
fn status(problems: &[String]) -> String {
    if problems.is_empty() { "scraping".to_owned() } else { problems.join("; ").replace('\n', " ") }
}

/// A path, or a name in the abstract name space, which starts with an at sign.
fn connect(address: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let target = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold the event loop up.
    socket.set_nonblocking(true)?;
    Ok((socket, target))
}

/// How long the manager waits, if it means this process.
fn watchdog_interval(usec: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(u64::from(own))) {
        return None;
    }
    usec.and_then(number).filter(|usec| *usec > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn told(watchdog: Option<Duration>) -> (Supervisor, UnixDatagram, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let supervisor = Supervisor { socket: Some(Arc::new(connect(path.as_os_str()).unwrap())), watchdog };
        (supervisor, manager, folder)
    }

    fn next(manager: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 512];
        let read = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..read].to_vec()).unwrap())
    }

    #[test]
    fn the_manager_hears_of_each_step() {
        let (supervisor, manager, _folder) = told(None);
        supervisor.tell_ready();
        assert!(next(&manager).unwrap().starts_with("READY=1\n"));
        supervisor.tell_reloading();
        assert!(next(&manager).unwrap().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        supervisor.tell_stopping();
        assert!(next(&manager).unwrap().starts_with("STOPPING=1\n"));
    }

    #[test]
    fn abstract_names_are_understood() {
        let name = format!("outpost-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        manager.set_nonblocking(true).unwrap();
        let target = connect(OsStr::new(&format!("@{name}"))).unwrap();
        Supervisor { socket: Some(Arc::new(target)), watchdog: None }.tell_ready();
        assert!(next(&manager).unwrap().starts_with("READY=1"));
    }

    /// Waits for a message in real time: blocking threads do not live by tokio's paused clock.
    async fn heard(manager: &UnixDatagram) -> Option<String> {
        for _ in 0..500 {
            if let Some(message) = next(manager) {
                return Some(message);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_while_rounds_end_and_not_longer() {
        let (supervisor, manager, _folder) = told(Some(Duration::from_millis(60)));
        let hangs = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&hangs);
        let problems: Problems = Arc::new(move || {
            while seen.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            vec!["the disk\nis full".to_owned()]
        });
        let feeding = tokio::spawn(supervisor.feed_watchdog(problems));
        assert_eq!(heard(&manager).await.as_deref(), Some("WATCHDOG=1\nSTATUS=the disk is full"));
        hangs.store(true, Ordering::Relaxed);
        // The round in flight, if any, has been sent by now or never will be.
        tokio::time::sleep(Duration::from_millis(40)).await;
        while next(&manager).is_some() {}
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(next(&manager), None, "fed although the store hangs");
        hangs.store(false, Ordering::Relaxed);
        assert!(heard(&manager).await.is_some());
        feeding.abort();
    }

    #[test]
    fn a_watchdog_of_another_process_is_none_of_ours() {
        let text = |text: &str| Some(OsString::from(text));
        assert_eq!(watchdog_interval(text("3000000"), None, 7), Some(Duration::from_secs(3)));
        assert_eq!(watchdog_interval(text("3000000"), text("7"), 7), Some(Duration::from_secs(3)));
        assert_eq!(watchdog_interval(text("3000000"), text("8"), 7), None);
        assert_eq!(watchdog_interval(text("0"), None, 7), None);
        assert_eq!(watchdog_interval(text("soon"), None, 7), None);
        assert_eq!(watchdog_interval(None, None, 7), None);
    }
}
