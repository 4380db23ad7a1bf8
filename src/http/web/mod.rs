//! `--web.config.file`: TLS, client certificates, users and headers of the listener.
//!
//! The file and those that it names are looked at every [`LOOK_INTERVAL`]; a change is in force for the next connection
//! and the next request. A file that has become wrong is logged, and what was in force stays.

mod client_cert;
mod settings;
mod tls;
mod users;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;
use tracing::{error, info};

pub use settings::{ClientAuth, PemSource, ServerTlsSettings, WebSettings, WebSource};
pub(super) use users::Admission;
use users::Users;

/// How often the files are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Checks settings as far as it goes without serving: certificates and keys are read and must fit.
pub fn check_web_settings(settings: &WebSettings) -> Result<(), String> {
    Active::build(settings).map(drop)
}

/// What is in force.
pub(super) struct Active {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) users: Users,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether sources beyond the local network may come in.
    pub(super) public_sources: bool,
}

impl Active {
    fn build(settings: &WebSettings) -> Result<Self, String> {
        Ok(Self {
            tls: settings.tls.as_ref().map(tls::build).transpose()?,
            users: Users::new(settings.users.clone()),
            headers: settings.headers.clone(),
            public_sources: settings.identifies_clients(),
        })
    }

    /// No file, no TLS, no users.
    fn open() -> Self {
        Self { tls: None, users: Users::new(Default::default()), headers: Vec::new(), public_sources: false }
    }
}

/// What tells one version of a file from another.
type Stamp = Option<(SystemTime, u64)>;

/// The settings in force, kept up to date.
pub(super) struct Web {
    source: Option<WebSource>,
    active: Mutex<Arc<Active>>,
    stamps: Mutex<Vec<Stamp>>,
}

impl Web {
    /// Reads the file for the first time; without one everything is open.
    pub(super) fn load(source: Option<WebSource>) -> Result<Self, String> {
        let Some(of_file) = &source else {
            return Ok(Self { source, active: Mutex::new(Arc::new(Active::open())), stamps: Mutex::default() });
        };
        let settings = (of_file.read)()?;
        let stamps = stamps(&of_file.path, &settings);
        let active = Active::build(&settings)?;
        Ok(Self { source, active: Mutex::new(Arc::new(active)), stamps: Mutex::new(stamps) })
    }

    /// What is in force now.
    pub(super) fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is anything to look at.
    pub(super) fn is_from_file(&self) -> bool {
        self.source.is_some()
    }

    /// Reads the files again if one has changed. It touches the disk: call it from a blocking thread.
    pub(super) fn refresh(&self) {
        let Some(source) = &self.source else { return };
        let read = (source.read)();
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let present = match &read {
            Ok(settings) => stamps(&source.path, settings),
            Err(_) => vec![stamp(&source.path)],
        };
        if *known == present {
            return;
        }
        *known = present;
        let file = source.path.display();
        match read.and_then(|settings| self.replace(&settings)) {
            Ok(()) => info!(%file, "TLS and users are read again"),
            Err(reason) => error!(%file, %reason, "TLS and users stay as they were"),
        }
    }

    fn replace(&self, settings: &WebSettings) -> Result<(), String> {
        let next = Active::build(settings)?;
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.tls.is_some() != next.tls.is_some() {
            return Err("TLS is switched on or off only by a restart".to_owned());
        }
        *active = Arc::new(next);
        Ok(())
    }
}

fn stamps(path: &Path, settings: &WebSettings) -> Vec<Stamp> {
    std::iter::once(path).chain(settings.files().map(|file| file.as_path())).map(stamp).collect()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
