//! `dockerswarm_sd_configs`: the services, tasks or nodes of a swarm.
//! Source of the rules: prometheus/discovery/moby/{services,tasks,nodes}.go.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::engine::{Engine, LabelMap, address_of, extend_sanitized, join_host_port};
use super::{DiscoveryError, SwarmRole, SwarmSettings, TargetGroup};
use crate::model::Labels;

const PREFIX: &str = "__meta_dockerswarm_";

/// Asks a manager of a swarm.
pub(super) struct SwarmProvider {
    engine: Engine,
    settings: SwarmSettings,
}

impl SwarmProvider {
    pub(super) fn new(settings: &SwarmSettings) -> Result<Self, DiscoveryError> {
        let engine = Engine::new(&settings.host, &settings.client, &settings.filters, settings.refresh_interval)?;
        Ok(Self { engine, settings: settings.clone() })
    }

    pub(super) fn interval(&self) -> Duration {
        self.settings.refresh_interval
    }

    /// Asks for what there is now.
    pub(super) async fn refresh(&mut self) -> Result<Vec<TargetGroup>, DiscoveryError> {
        let port = self.settings.port;
        let targets = match self.settings.role {
            SwarmRole::Nodes => node_targets(&self.engine.filtered("/nodes").await?, port),
            SwarmRole::Services => {
                let services: Vec<Service> = self.engine.filtered("/services").await?;
                service_targets(&services, &self.engine.network_labels(PREFIX).await?, port)?
            }
            SwarmRole::Tasks => {
                let tasks: Vec<Task> = self.engine.filtered("/tasks").await?;
                let surroundings = Surroundings {
                    services: self.engine.list("/services").await?,
                    nodes: self.engine.list("/nodes").await?,
                    networks: self.engine.network_labels(PREFIX).await?,
                };
                task_targets(&tasks, &surroundings, port)?
            }
        };
        Ok(vec![TargetGroup { source: "DockerSwarm".to_owned(), targets, labels: Labels::empty() }])
    }
}

type OwnLabels = Option<BTreeMap<String, String>>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    spec: NodeSpec,
    description: NodeDescription,
    status: NodeStatus,
    manager_status: Option<ManagerStatus>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeSpec {
    role: String,
    availability: String,
    labels: OwnLabels,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeDescription {
    hostname: String,
    platform: Platform,
    engine: EngineDescription,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Platform {
    #[serde(rename = "Architecture")]
    architecture: String,
    #[serde(rename = "OS")]
    os: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EngineDescription {
    engine_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    state: String,
    addr: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ManagerStatus {
    leader: bool,
    reachability: String,
    addr: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    spec: ServiceSpec,
    endpoint: ServiceEndpoint,
    update_status: Option<State>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpec {
    name: String,
    labels: OwnLabels,
    mode: ServiceMode,
    task_template: TaskSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceMode {
    replicated: Option<IgnoredAny>,
    global: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpec {
    container_spec: Option<ContainerSpec>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpec {
    image: String,
    hostname: String,
    labels: OwnLabels,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceEndpoint {
    ports: Option<Vec<Port>>,
    #[serde(rename = "VirtualIPs")]
    virtual_ips: Option<Vec<VirtualIp>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VirtualIp {
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "Addr")]
    addr: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    name: String,
    protocol: String,
    published_port: u16,
    publish_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct State {
    state: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    slot: i64,
    desired_state: String,
    status: TaskStatus,
    spec: TaskSpec,
    networks_attachments: Option<Vec<Attachment>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: String,
    container_status: Option<ContainerStatus>,
    port_status: PortStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    #[serde(rename = "ContainerID")]
    container_id: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PortStatus {
    ports: Option<Vec<Port>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attachment {
    network: AttachedNetwork,
    addresses: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AttachedNetwork {
    #[serde(rename = "ID")]
    id: String,
}

/// What the labels of tasks are taken from besides the tasks themselves.
struct Surroundings {
    services: Vec<Service>,
    nodes: Vec<Node>,
    networks: BTreeMap<String, LabelMap>,
}

fn meta(pairs: &[(&str, &str)]) -> LabelMap {
    pairs.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect()
}

fn finish(mut labels: LabelMap, address: String) -> Labels {
    labels.insert("__address__".to_owned(), address);
    Labels::from_pairs(labels)
}

fn tcp(ports: Option<&Vec<Port>>) -> impl Iterator<Item = &Port> {
    ports.into_iter().flatten().filter(|port| port.protocol == "tcp")
}

impl Node {
    /// The labels that tasks on this node get too.
    fn labels(&self) -> LabelMap {
        let mut labels = meta(&[
            ("node_id", &self.id),
            ("node_role", &self.spec.role),
            ("node_address", &self.status.addr),
            ("node_availability", &self.spec.availability),
            ("node_hostname", &self.description.hostname),
            ("node_platform_architecture", &self.description.platform.architecture),
            ("node_platform_os", &self.description.platform.os),
            ("node_status", &self.status.state),
        ]);
        extend_sanitized(&mut labels, &format!("{PREFIX}node_label_"), self.spec.labels.clone());
        labels
    }
}

fn node_targets(nodes: &[Node], port: u16) -> Vec<Labels> {
    let target = |node: &Node| {
        let mut labels = node.labels();
        labels.extend(meta(&[("node_engine_version", &node.description.engine.engine_version)]));
        if let Some(manager) = &node.manager_status {
            labels.extend(meta(&[
                ("node_manager_leader", &manager.leader.to_string()),
                ("node_manager_reachability", &manager.reachability),
                ("node_manager_address", &manager.addr),
            ]));
        }
        finish(labels, join_host_port(&node.status.addr, port))
    };
    nodes.iter().map(target).collect()
}

impl Service {
    /// The labels that the service's tasks get too.
    fn labels(&self) -> LabelMap {
        let mode = match &self.spec.mode {
            ServiceMode { global: Some(_), .. } => "global",
            ServiceMode { replicated: Some(_), .. } => "replicated",
            _ => "",
        };
        let mut labels = meta(&[("service_id", &self.id), ("service_name", &self.spec.name), ("service_mode", mode)]);
        extend_sanitized(&mut labels, &format!("{PREFIX}service_label_"), self.spec.labels.clone());
        labels
    }
}

fn service_targets(
    services: &[Service],
    networks: &BTreeMap<String, LabelMap>,
    port: u16,
) -> Result<Vec<Labels>, DiscoveryError> {
    let mut targets = Vec::new();
    for service in services {
        let mut common = service.labels();
        if let Some(container) = &service.spec.task_template.container_spec {
            common.extend(meta(&[
                ("service_task_container_hostname", &container.hostname),
                ("service_task_container_image", &container.image),
            ]));
        }
        if let Some(update) = &service.update_status {
            common.extend(meta(&[("service_updating_status", &update.state)]));
        }
        for ip in service.endpoint.virtual_ips.iter().flatten() {
            let address = address_of(&ip.addr)?;
            let mut labels = common.clone();
            labels.extend(networks.get(&ip.network_id).cloned().unwrap_or_default());
            let before = targets.len();
            for exposed in tcp(service.endpoint.ports.as_ref()) {
                let mut labels = labels.clone();
                labels.extend(meta(&[
                    ("service_endpoint_port_name", &exposed.name),
                    ("service_endpoint_port_publish_mode", &exposed.publish_mode),
                ]));
                targets.push(finish(labels, join_host_port(address, exposed.published_port)));
            }
            if targets.len() == before {
                targets.push(finish(labels, join_host_port(address, port)));
            }
        }
    }
    Ok(targets)
}

fn task_targets(tasks: &[Task], surroundings: &Surroundings, port: u16) -> Result<Vec<Labels>, DiscoveryError> {
    let mut targets = Vec::new();
    for task in tasks {
        let service = surroundings.services.iter().find(|service| service.id == task.service_id);
        let node = surroundings.nodes.iter().find(|node| node.id == task.node_id);
        let mut common = own_labels(task);
        common.extend(service.map(Service::labels).unwrap_or_default());
        common.extend(node.map(Node::labels).unwrap_or_default());
        let published = |labels: &LabelMap, port: &Port, address: &str| {
            let mut labels = labels.clone();
            labels.extend(meta(&[("task_port_publish_mode", &port.publish_mode)]));
            finish(labels, join_host_port(address, port.published_port))
        };
        let node_address = node.map_or("", |node| &node.status.addr);
        for exposed in tcp(task.status.port_status.ports.as_ref()) {
            targets.push(published(&common, exposed, node_address));
        }
        for attachment in task.networks_attachments.iter().flatten() {
            let mut labels = common.clone();
            labels.extend(surroundings.networks.get(&attachment.network.id).cloned().unwrap_or_default());
            for address in attachment.addresses.iter().flatten() {
                let address = address_of(address)?;
                let before = targets.len();
                for exposed in tcp(service.and_then(|service| service.endpoint.ports.as_ref())) {
                    targets.push(published(&labels, exposed, address));
                }
                if targets.len() == before {
                    targets.push(finish(labels.clone(), join_host_port(address, port)));
                }
            }
        }
    }
    Ok(targets)
}

fn own_labels(task: &Task) -> LabelMap {
    let mut labels = meta(&[
        ("task_id", &task.id),
        ("task_desired_state", &task.desired_state),
        ("task_state", &task.status.state),
        ("task_slot", &task.slot.to_string()),
    ]);
    if let Some(status) = &task.status.container_status {
        labels.extend(meta(&[("task_container_id", &status.container_id)]));
    }
    if let Some(container) = &task.spec.container_spec {
        extend_sanitized(&mut labels, &format!("{PREFIX}container_label_"), container.labels.clone());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = r#"[{"ID": "n1", "Spec": {"Role": "manager", "Availability": "active", "Labels": {"a.b": "c"}},
        "Description": {"Hostname": "pi", "Platform": {"Architecture": "aarch64", "OS": "linux"},
        "Engine": {"EngineVersion": "29.0"}}, "Status": {"State": "ready", "Addr": "192.168.0.2"},
        "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "192.168.0.2:2377"}}]"#;
    const SERVICES: &str = r#"[{"ID": "s1", "Spec": {"Name": "web", "Labels": {"x": "y"}, "Mode": {"Replicated": {}},
        "TaskTemplate": {"ContainerSpec": {"Image": "web:1"}}}, "UpdateStatus": {"State": "completed"},
        "Endpoint": {"Ports": [{"Name": "p", "Protocol": "tcp", "PublishedPort": 8080, "PublishMode": "ingress"},
        {"Protocol": "udp", "PublishedPort": 53}], "VirtualIPs": [{"NetworkID": "net", "Addr": "10.0.0.5/24"}]}},
        {"ID": "s2", "Spec": {"Name": "db", "Mode": {"Global": {}}}, "Endpoint": {"VirtualIPs": [{"Addr": "10.0.0.6/24"}]}}]"#;
    const TASKS: &str = r#"[{"ID": "t1", "ServiceID": "s1", "NodeID": "n1", "Slot": 2, "DesiredState": "running",
        "Status": {"State": "running", "ContainerStatus": {"ContainerID": "c1"},
        "PortStatus": {"Ports": [{"Protocol": "tcp", "PublishedPort": 9, "PublishMode": "host"}]}},
        "Spec": {"ContainerSpec": {"Labels": {"k": "v"}}},
        "NetworksAttachments": [{"Network": {"ID": "net"}, "Addresses": ["10.0.0.7/24"]}]},
        {"ID": "t2", "ServiceID": "s2", "NodeID": "gone", "NetworksAttachments": [{"Addresses": ["10.0.0.8/24"]}]}]"#;

    fn networks() -> BTreeMap<String, LabelMap> {
        BTreeMap::from([("net".to_owned(), meta(&[("network_name", "front")]))])
    }

    fn addresses(targets: &[Labels]) -> Vec<&str> {
        targets.iter().map(|labels| labels.get("__address__").unwrap_or("")).collect()
    }

    fn read<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
        serde_json::from_str(text).expect("valid")
    }

    #[test]
    fn nodes() {
        let targets = node_targets(&read(NODES), 9100);
        assert_eq!(addresses(&targets), ["192.168.0.2:9100"]);
        let expected = [
            ("node_label_a_b", "c"),
            ("node_engine_version", "29.0"),
            ("node_manager_leader", "true"),
            ("node_platform_os", "linux"),
        ];
        for (name, value) in expected {
            assert_eq!(targets[0].get(&format!("{PREFIX}{name}")), Some(value), "{name}");
        }
        assert_eq!(targets[0].len(), 14);
    }

    #[test]
    fn services() {
        let targets = service_targets(&read(SERVICES), &networks(), 80).expect("valid");
        assert_eq!(addresses(&targets), ["10.0.0.5:8080", "10.0.0.6:80"]);
        let expected = [
            ("service_mode", "replicated"),
            ("service_updating_status", "completed"),
            ("service_endpoint_port_publish_mode", "ingress"),
            ("network_name", "front"),
            ("service_task_container_image", "web:1"),
        ];
        for (name, value) in expected {
            assert_eq!(targets[0].get(&format!("{PREFIX}{name}")), Some(value), "{name}");
        }
        let bad: Vec<Service> = read(r#"[{"Endpoint": {"VirtualIPs": [{"Addr": "x"}]}}]"#);
        assert!(service_targets(&bad, &networks(), 80).is_err());
    }

    #[test]
    fn tasks() {
        let surroundings = Surroundings { services: read(SERVICES), nodes: read(NODES), networks: networks() };
        let targets = task_targets(&read(TASKS), &surroundings, 80).expect("valid");
        assert_eq!(addresses(&targets), ["192.168.0.2:9", "10.0.0.7:8080", "10.0.0.8:80"]);
        let expected = [
            ("task_slot", "2"),
            ("task_container_id", "c1"),
            ("container_label_k", "v"),
            ("service_name", "web"),
            ("node_hostname", "pi"),
            ("task_port_publish_mode", "ingress"),
            ("network_name", "front"),
        ];
        for (name, value) in expected {
            assert_eq!(targets[1].get(&format!("{PREFIX}{name}")), Some(value), "{name}");
        }
    }
}
