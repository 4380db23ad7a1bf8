//! An uninterruptible power supply through a server of the Network UPS Tools, under nut_exporter's names.
//!
//! Names and labels: DRuggeri/nut_exporter, collectors/nut_collector.go. All variables that are numbers are shown unless
//! some are chosen. Only `LIST` and `GET` are sent, and the user's name and password where the server wants them.

mod protocol;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use self::protocol::{Conversation, LIST_LINES_MAX};
use super::page::Page;
use super::{CollectError, CollectFuture, Collector, NutCollectorSettings};
use crate::client::{Resolver, SecretText};
use crate::model::MetricType;

/// The port of upsd.
pub const PORT: u16 = 3493;
/// The flags of `ups.status` that are shown as 0 where they are not set, as nut_exporter does.
const STATUS_FLAGS: [&str; 15] =
    ["OL", "OB", "LB", "HB", "RB", "CHRG", "DISCHRG", "BYPASS", "CAL", "OFF", "OVER", "TRIM", "BOOST", "FSD", "SD"];
/// The variables below `device.` that are labels of the information.
const DEVICE_LABELS: [&str; 9] =
    ["model", "mfr", "serial", "type", "description", "contact", "location", "part", "macaddr"];
/// Texts that mean 1, and that mean 0.
const ON: [&str; 6] = ["enable", "enabled", "on", "true", "active", "activated"];
const OFF: [&str; 6] = ["disable", "disabled", "off", "false", "inactive", "deactivated"];
/// The variable that is a list of flags.
const STATUS: &str = "ups.status";
const NAMESPACE: &str = "network_ups_tools_";

/// Collects one power supply.
pub struct NutCollector {
    settings: NutCollectorSettings,
    host: String,
    port: u16,
    user: Option<(SecretText, SecretText)>,
    resolver: Resolver,
    /// What variables mean, by name: asked for once. At most as many as a list has lines.
    descriptions: Mutex<BTreeMap<String, String>>,
}

impl NutCollector {
    /// A collector for the power supply that `settings` name. The server is spoken to at each collection.
    pub fn new(settings: NutCollectorSettings) -> Self {
        let (host, port) = host_and_port(&settings.server).expect("the configuration has checked it");
        Self {
            host: host.to_owned(),
            port,
            user: settings.user.as_ref().map(|user| {
                (SecretText::new("username_file", &user.username), SecretText::new("password_file", &user.password))
            }),
            resolver: Resolver::default(),
            descriptions: Mutex::default(),
            settings,
        }
    }

    async fn read(&self, page: &mut Vec<u8>) -> Result<(), String> {
        let addresses = self.resolver.resolve(&self.host, self.port).await.map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(|error| error.to_string())?;
        let mut conversation = Conversation::new(stream);
        if let Some((name, password)) = &self.user {
            let name = name.text().map_err(|error| error.to_string())?;
            let password = password.text().map_err(|error| error.to_string())?;
            conversation.ask(&["USERNAME", name.expose()]).await?;
            conversation.ask(&["PASSWORD", password.expose()]).await?;
        }
        let ups = self.ups(&mut conversation).await?;
        let variables = conversation.list(&["VAR", &ups]).await?;
        let variables: BTreeMap<String, String> = variables.into_iter().filter_map(name_and_value).collect();
        let shown: Vec<&String> =
            variables.iter().filter_map(|(name, value)| self.is_shown(name, value).then_some(name)).collect();
        self.describe(&mut conversation, &ups, &shown).await;
        let descriptions = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        write(page, &variables, &descriptions, |name, value| self.is_shown(name, value));
        Ok(())
    }

    /// The power supply that is meant.
    async fn ups<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        conversation: &mut Conversation<S>,
    ) -> Result<String, String> {
        if let Some(ups) = &self.settings.ups {
            return Ok(ups.clone());
        }
        let mut names: Vec<String> =
            conversation.list(&["UPS"]).await?.into_iter().filter_map(|line| line.into_iter().next()).collect();
        match names.len() {
            0 => Err("it has no ups".to_owned()),
            1 => Ok(names.remove(0)),
            _ => Err(format!("it has several; a job with `ups:` for each of {}", names.join(", "))),
        }
    }

    fn is_shown(&self, name: &str, value: &str) -> bool {
        let chosen = &self.settings.variables;
        (chosen.is_empty() || chosen.iter().any(|wanted| wanted == name)) && is_figure(name, value)
    }

    /// Learns what variables mean. A server that does not say is no failure: the values were read.
    async fn describe<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        conversation: &mut Conversation<S>,
        ups: &str,
        shown: &[&String],
    ) {
        let unknown: Vec<&&String> = {
            let known = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
            shown.iter().filter(|name| !known.contains_key(**name)).collect()
        };
        for name in unknown {
            let answer = conversation.ask(&["GET", "DESC", ups, name]).await;
            let is_told = answer.is_ok();
            let description = answer.ok().and_then(|words| words.into_iter().nth(3)).unwrap_or_default();
            let mut known = self.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= LIST_LINES_MAX {
                known.clear();
            }
            known.insert((*name).clone(), description);
            if !is_told {
                return;
            }
        }
    }
}

impl Collector for NutCollector {
    fn collect<'a>(&'a self, page: &'a mut Vec<u8>) -> CollectFuture<'a> {
        Box::pin(async move {
            let failed = |reason| CollectError::Nut { server: self.settings.server.clone(), reason };
            self.read(page).await.map_err(failed)
        })
    }
}

/// Host and port of `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or a bare IPv6 address. `None`: it is none of these.
pub fn host_and_port(server: &str) -> Option<(&str, u16)> {
    let split = server.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let (host, port) = match split {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0)?),
        None => (server, PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty() && !host.contains(['/', '@', ' ', '[', ']'])).then_some((host, port))
}

fn name_and_value(line: Vec<String>) -> Option<(String, String)> {
    let mut words = line.into_iter();
    Some((words.next()?, words.next()?))
}

/// The page of the lines of a list of variables.
pub(super) fn write_answer(page: &mut Vec<u8>, lines: &str) {
    let words = lines.lines().filter_map(|line| protocol::words(line).ok());
    let variables = words.map(|words| words.into_iter().skip(2).collect()).filter_map(name_and_value).collect();
    write(page, &variables, &BTreeMap::new(), is_figure);
}

fn is_figure(name: &str, value: &str) -> bool {
    name == STATUS || number(value).is_some()
}

/// Writes the families of those of one power supply's variables that are shown.
fn write(
    page: &mut Vec<u8>,
    variables: &BTreeMap<String, String>,
    descriptions: &BTreeMap<String, String>,
    is_shown: impl Fn(&str, &str) -> bool,
) {
    let mut page = Page::new(page);
    for (name, value) in variables.iter().filter(|(name, value)| is_shown(name, value)) {
        let description = descriptions.get(name).map_or("", String::as_str);
        let help = format!("{description} ({name})");
        if name == STATUS {
            write_status(&mut page, value, &help);
        } else if let Some(number) = number(value) {
            page.family_of(&[NAMESPACE, name], MetricType::Gauge, &help).sample(&[], number);
        }
    }
    let labels = DEVICE_LABELS.map(|label| {
        let value = variables.get(&format!("device.{label}")).map_or("", |value| value.trim());
        (label, value)
    });
    page.family_of(&[NAMESPACE, "device_info"], MetricType::Gauge, "What the power supply says of itself.")
        .sample(&labels, 1.0);
}

fn write_status(page: &mut Page<'_>, value: &str, help: &str) {
    let mut family = page.family_of(&[NAMESPACE, "ups_status"], MetricType::Gauge, help);
    let mut set: Vec<&str> = value.split_ascii_whitespace().collect();
    set.sort_unstable();
    set.dedup();
    for flag in &set {
        family.sample(&[("flag", flag)], 1.0);
    }
    for flag in STATUS_FLAGS.iter().filter(|flag| !set.contains(flag)) {
        family.sample(&[("flag", flag)], 0.0);
    }
}

/// A variable's value where it is a number or a switch.
fn number(value: &str) -> Option<f64> {
    let value = value.trim();
    let is_word_of = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is_word_of(&ON) {
        return Some(1.0);
    }
    if is_word_of(&OFF) {
        return Some(0.0);
    }
    // Words that Rust would read as numbers (inf, 1e5) are none here.
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { value.parse().ok() } else { None }
}
