//! `docker_sd_configs`: a target for each TCP port of each container in each of its networks.
//! Source of the rules: prometheus/discovery/moby/docker.go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::engine::{Engine, LabelMap, extend_sanitized, join_host_port};
use super::{DiscoveryError, DockerSettings, TargetGroup};
use crate::model::Labels;

const PREFIX: &str = "__meta_docker_";

/// Asks an engine for its containers.
pub(super) struct DockerProvider {
    engine: Engine,
    settings: DockerSettings,
}

impl DockerProvider {
    pub(super) fn new(settings: &DockerSettings) -> Result<Self, DiscoveryError> {
        let engine = Engine::new(&settings.host, &settings.client, &settings.filters, settings.refresh_interval)?;
        Ok(Self { engine, settings: settings.clone() })
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.refresh_interval
    }

    /// Asks for what runs now.
    pub(super) async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let containers: Vec<Container> = self.engine.filtered("/containers/json").await?;
        let networks = self.engine.network_labels(PREFIX).await?;
        let targets = targets(&self.settings, &containers, &networks);
        Ok(vec![TargetGroup { source: "Docker".to_owned(), targets, labels: Labels::empty() }])
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    names: Option<Vec<String>>,
    ports: Option<Vec<Port>>,
    labels: Option<BTreeMap<String, String>>,
    host_config: Option<HostConfig>,
    network_settings: Option<NetworkSettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", default)]
    ip: String,
    #[serde(default)]
    private_port: u16,
    #[serde(default)]
    public_port: u16,
    #[serde(default)]
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "NetworkID", default)]
    network_id: String,
    #[serde(rename = "IPAddress", default)]
    ip_address: String,
}

impl Container {
    fn network_mode(&self) -> &str {
        self.host_config.as_ref().map_or("", |config| &config.network_mode)
    }

    /// By name, without those that are null.
    fn endpoints(&self) -> Vec<&Endpoint> {
        let networks = self.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        networks.into_iter().flat_map(|networks| networks.values().flatten()).collect()
    }
}

fn targets(settings: &DockerSettings, containers: &[Container], networks: &BTreeMap<String, LabelMap>) -> Vec<Labels> {
    let mut targets = Vec::new();
    for container in containers {
        let Some(common) = common_labels(container) else { continue };
        let mut endpoints = endpoints_of(container, containers);
        if settings.match_first_network {
            endpoints.truncate(1);
        }
        for endpoint in endpoints {
            let mut labels = common.clone();
            labels.insert(format!("{PREFIX}network_ip"), endpoint.ip_address.clone());
            labels.extend(networks.get(&endpoint.network_id).cloned().unwrap_or_default());
            push_ports(&mut targets, settings, container, endpoint, &labels);
        }
    }
    targets
}

fn push_ports(
    targets: &mut Vec<Labels>,
    settings: &DockerSettings,
    container: &Container,
    endpoint: &Endpoint,
    labels: &LabelMap,
) {
    let before = targets.len();
    for port in container.ports.iter().flatten().filter(|port| port.r#type == "tcp") {
        let mut labels = labels.clone();
        labels.insert(format!("{PREFIX}port_private"), port.private_port.to_string());
        if port.public_port > 0 {
            labels.insert(format!("{PREFIX}port_public"), port.public_port.to_string());
            labels.insert(format!("{PREFIX}port_public_ip"), port.ip.clone());
        }
        labels.insert("__address__".to_owned(), join_host_port(&endpoint.ip_address, port.private_port));
        targets.push(Labels::from_pairs(labels));
    }
    if targets.len() == before {
        // No port is exposed; in host networking none can be.
        let address = match container.network_mode() {
            "host" => settings.host_networking_host.clone(),
            _ => join_host_port(&endpoint.ip_address, settings.port),
        };
        let mut labels = labels.clone();
        labels.insert("__address__".to_owned(), address);
        targets.push(Labels::from_pairs(labels));
    }
}

/// Labels of all targets of a container; `None` if it has no name.
fn common_labels(container: &Container) -> Option<LabelMap> {
    let name = container.names.as_ref()?.first()?;
    let mut labels = LabelMap::from([
        (format!("{PREFIX}container_id"), container.id.clone()),
        (format!("{PREFIX}container_name"), name.clone()),
        (format!("{PREFIX}container_network_mode"), container.network_mode().to_owned()),
    ]);
    extend_sanitized(&mut labels, &format!("{PREFIX}container_label_"), container.labels.clone());
    Some(labels)
}

/// A container's networks, or those of the container whose network it shares.
fn endpoints_of<'a>(container: &'a Container, all: &'a [Container]) -> Vec<&'a Endpoint> {
    let mut current = container;
    // Containers that share in a circle are an engine's mistake: it ends after everyone was looked at.
    for _ in 0..=all.len() {
        let endpoints = current.endpoints();
        if !endpoints.is_empty() {
            return endpoints;
        }
        let shared = current.network_mode().strip_prefix("container:");
        match shared.and_then(|id| all.iter().find(|other| other.id == id)) {
            Some(other) => current = other,
            None => break,
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINERS: &str = r#"[
        {"Id": "1", "Names": ["/web"], "Labels": {"com.x/y": "z"}, "HostConfig": {"NetworkMode": "site"},
         "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                   {"PrivatePort": 53, "Type": "udp"}, {"PrivatePort": 81, "Type": "tcp"}],
         "NetworkSettings": {"Networks": {"b": {"NetworkID": "nb", "IPAddress": "10.2.0.2"},
                                          "a": {"NetworkID": "na", "IPAddress": "10.1.0.2"}, "0": null}}},
        {"Id": "2", "Names": ["/side"], "Ports": [], "HostConfig": {"NetworkMode": "container:1"},
         "NetworkSettings": {"Networks": {}}},
        {"Id": "3", "Names": ["/host"], "HostConfig": {"NetworkMode": "host"},
         "NetworkSettings": {"Networks": {"host": {"NetworkID": "h", "IPAddress": ""}}}},
        {"Id": "4", "Names": [], "NetworkSettings": null},
        {"Id": "5", "Names": ["/loop"], "HostConfig": {"NetworkMode": "container:5"}}
    ]"#;

    fn found(match_first_network: bool) -> Vec<String> {
        let settings = DockerSettings {
            host: "unix:///x".to_owned(),
            port: 80,
            host_networking_host: "localhost".to_owned(),
            match_first_network,
            filters: vec![],
            refresh_interval: Duration::from_secs(60),
            client: Default::default(),
        };
        let containers: Vec<Container> = serde_json::from_str(CONTAINERS).expect("valid");
        let named = LabelMap::from([(format!("{PREFIX}network_name"), "a".to_owned())]);
        let networks = BTreeMap::from([("na".to_owned(), named)]);
        targets(&settings, &containers, &networks).iter().map(|labels| labels.to_string()).collect()
    }

    #[test]
    fn one_target_per_port_and_network() {
        let web = r#"__meta_docker_container_id="1", __meta_docker_container_label_com_x_y="z", __meta_docker_container_name="/web", __meta_docker_container_network_mode="site""#;
        let expected = [
            format!(
                r#"{{__address__="10.1.0.2:80", {web}, __meta_docker_network_ip="10.1.0.2", __meta_docker_network_name="a", __meta_docker_port_private="80", __meta_docker_port_public="8080", __meta_docker_port_public_ip="0.0.0.0"}}"#
            ),
            format!(
                r#"{{__address__="10.1.0.2:81", {web}, __meta_docker_network_ip="10.1.0.2", __meta_docker_network_name="a", __meta_docker_port_private="81"}}"#
            ),
            r#"{__address__="10.1.0.2:80", __meta_docker_container_id="2", __meta_docker_container_name="/side", __meta_docker_container_network_mode="container:1", __meta_docker_network_ip="10.1.0.2", __meta_docker_network_name="a"}"#.to_owned(),
            r#"{__address__="localhost", __meta_docker_container_id="3", __meta_docker_container_name="/host", __meta_docker_container_network_mode="host"}"#.to_owned(),
        ];
        assert_eq!(found(true), expected);
        assert_eq!(found(false).len(), 7, "web and side are in two networks");
    }
}
