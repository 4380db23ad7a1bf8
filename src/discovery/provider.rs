//! The mechanisms that are asked again and again.

use std::time::Duration;

use super::dns::DnsProvider;
use super::docker::DockerProvider;
use super::file::FileProvider;
use super::http::HttpProvider;
use super::swarm::SwarmProvider;
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
    /// What never changes is given once.
    Static(TargetGroup),
    File(FileProvider),
    Http(HttpProvider),
    Dns(DnsProvider),
    Docker(DockerProvider),
    Swarm(SwarmProvider),
}

impl Provider {
    /// Checks the settings.
    pub(super) fn new(settings: &DiscoverySettings) -> Result<Self, DiscoveryError> {
        Ok(match settings {
            DiscoverySettings::Static(group) => Self::Static(group.clone()),
            DiscoverySettings::File(settings) => Self::File(FileProvider::new(settings)),
            DiscoverySettings::Http(settings) => Self::Http(HttpProvider::new(settings)?),
            DiscoverySettings::Dns(settings) => Self::Dns(DnsProvider::new(settings)),
            DiscoverySettings::Docker(settings) => Self::Docker(DockerProvider::new(settings)?),
            DiscoverySettings::DockerSwarm(settings) => Self::Swarm(SwarmProvider::new(settings)?),
        })
    }

    /// The mechanism's name, for logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Dns(_) => "dns",
            Self::Docker(_) => "docker",
            Self::Swarm(_) => "dockerswarm",
        }
    }

    /// What needs no looking.
    pub(super) fn constant(&self) -> Vec<TargetGroup> {
        match self {
            Self::Static(group) => vec![group.clone()],
            _ => Vec::new(),
        }
    }

    /// Looks again.
    pub(super) async fn refresh(&mut self) -> Refresh {
        match self {
            Self::Static(_) => Ok(self.constant()).into(),
            Self::File(provider) => provider.refresh().await,
            Self::Http(provider) => provider.refresh().await.into(),
            Self::Dns(provider) => provider.refresh().await,
            Self::Docker(provider) => provider.refresh().await.into(),
            Self::Swarm(provider) => provider.refresh().await.into(),
        }
    }

    /// How long to wait between two looks; `None` if one is enough.
    pub(super) fn interval(&self) -> Option<Duration> {
        Some(match self {
            Self::Static(_) => return None,
            Self::File(provider) => provider.interval(),
            Self::Http(provider) => provider.interval(),
            Self::Dns(provider) => provider.interval(),
            Self::Docker(provider) => provider.interval(),
            Self::Swarm(provider) => provider.interval(),
        })
    }
}
