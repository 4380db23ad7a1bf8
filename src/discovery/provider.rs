//! The mechanisms that are asked again and again.

use std::time::Duration;

use super::file::FileProvider;
use super::http::HttpProvider;
use super::{DiscoveryError, DiscoverySettings, TargetGroup};

/// What one look gave.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// All groups that are known now; `None` if nothing could be found out.
    pub(super) groups: Option<Vec<TargetGroup>>,
    /// What went wrong, perhaps with a part of it.
    pub(super) failure: Option<DiscoveryError>,
}

impl From<Result<Vec<TargetGroup>, DiscoveryError>> for Refresh {
    fn from(result: Result<Vec<TargetGroup>, DiscoveryError>) -> Self {
        match result {
            Ok(groups) => Self { groups: Some(groups), failure: None },
            Err(failure) => Self { groups: None, failure: Some(failure) },
        }
    }
}

/// One mechanism.
pub(super) enum Provider {
    File(FileProvider),
    Http(HttpProvider),
}

impl Provider {
    /// Checks the settings.
    pub(super) fn new(settings: &DiscoverySettings) -> Result<Self, DiscoveryError> {
        Ok(match settings {
            DiscoverySettings::File(settings) => Self::File(FileProvider::new(settings)),
            DiscoverySettings::Http(settings) => Self::Http(HttpProvider::new(settings)?),
            _ => return Err(DiscoveryError::Unsupported),
        })
    }

    /// The mechanism's name, for logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Http(_) => "http",
        }
    }

    /// Looks again.
    pub(super) async fn refresh(&mut self) -> Refresh {
        match self {
            Self::File(provider) => provider.refresh().await,
            Self::Http(provider) => provider.refresh().await.into(),
        }
    }

    /// How long to wait between two looks.
    pub(super) fn interval(&self) -> Duration {
        match self {
            Self::File(provider) => provider.interval(),
            Self::Http(provider) => provider.interval(),
        }
    }
}
