//! Asking smartctl: which disks there are, and what one of them says.
//!
//! One program at a time, with a deadline and a bound on what it prints. A disk that sleeps is not woken
//! (`--nocheck=standby`).

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// A disk with all its logs takes about 20 kB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// A disk that recovers from an error may take half a minute.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bits of the exit status: the command line was wrong, the device could not be opened (or sleeps).
const STATUS_NOTHING_READ: i64 = 0b11;

/// A disk as smartctl is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `/dev/sda`, `/dev/bus/0`
    pub name: String,
    /// `--device`: `auto`, `sat`, `nvme`, `megaraid,1`
    pub device_type: String,
}

/// What became of asking for one disk.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// It was read.
    Read(Value),
    /// It sleeps, and was left alone.
    Asleep,
    /// Neither, and why.
    Failed(String),
}

impl Device {
    /// As written in a configuration: `/dev/sda` or, with a type, `/dev/bus/0;megaraid,1`.
    pub fn parse(text: &str) -> Self {
        let (name, device_type) = text.split_once(';').unwrap_or((text, ""));
        let device_type = if device_type.is_empty() { "auto" } else { device_type };
        Self { name: name.to_owned(), device_type: device_type.to_owned() }
    }

    /// The `device` label: without `/dev/`, and with the type if that has a number.
    pub fn label(&self) -> String {
        let prefixes = ["/dev/disk/by-id/", "/dev/disk/by-path/", "/dev/"];
        let name = prefixes.iter().find_map(|prefix| self.name.strip_prefix(prefix)).unwrap_or(&self.name);
        let mut label = name.replace('/', "_");
        if self.device_type.contains(',') {
            label.push('_');
            label.push_str(&self.device_type.replace(',', "_"));
        }
        label
    }
}

/// The disks that smartctl finds.
pub async fn scan(program: &str) -> Result<Vec<Device>, String> {
    let answer = run(program, &["--json".to_owned(), "--scan".to_owned()]).await?;
    Ok(scanned(&answer))
}

/// Asks for one disk.
pub async fn read(program: &str, device: &Device) -> Answer {
    let usual = [
        "--json",
        "--info",
        "--health",
        "--attributes",
        "--tolerance=verypermissive",
        "--nocheck=standby",
        "--format=brief",
        "--log=error",
    ];
    let mut arguments: Vec<String> = usual.map(str::to_owned).to_vec();
    arguments.push(format!("--device={}", device.device_type));
    arguments.push(device.name.clone());
    match run(program, &arguments).await {
        Ok(answer) => judge(answer),
        Err(reason) => Answer::Failed(reason),
    }
}

/// The disks of a scan's answer. SATA disks appear as `scsi` there: which they are is found out when they are read.
pub fn scanned(answer: &Value) -> Vec<Device> {
    let devices = answer.get("devices").and_then(Value::as_array).into_iter().flatten();
    devices
        .filter_map(|device| {
            let device_type = device.get("type").and_then(Value::as_str).filter(|kind| *kind != "scsi");
            Some(Device {
                name: device.get("name")?.as_str()?.to_owned(),
                device_type: device_type.unwrap_or("auto").to_owned(),
            })
        })
        // A name that begins with a dash would be an option.
        .filter(|device| device.name.starts_with('/'))
        .collect()
}

/// Whether an answer tells of the disk.
pub fn judge(answer: Value) -> Answer {
    let of_smartctl = answer.get("smartctl");
    let status = of_smartctl.and_then(|of| of.get("exit_status")).and_then(Value::as_i64);
    let messages = || {
        let messages = of_smartctl.and_then(|of| of.get("messages")).and_then(Value::as_array).into_iter().flatten();
        messages.filter_map(|message| Some((message.get("severity")?.as_str()?, message.get("string")?.as_str()?)))
    };
    let is_asleep = messages().any(|(_, text)| text.contains("STANDBY mode") || text.contains("SLEEP mode"));
    let problem = messages().find(|(severity, _)| *severity == "error").map(|(_, text)| text.to_owned());
    match status {
        None => Answer::Failed("the answer has no exit status".to_owned()),
        Some(status) if status & STATUS_NOTHING_READ != 0 && is_asleep => Answer::Asleep,
        Some(status) if status & STATUS_NOTHING_READ != 0 => {
            Answer::Failed(problem.unwrap_or_else(|| format!("smartctl ended with status {status}")))
        }
        Some(_) if problem.is_some() => Answer::Failed(problem.unwrap_or_default()),
        Some(_) => Answer::Read(answer),
    }
}

async fn run(program: &str, arguments: &[String]) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("{program} cannot be run: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut output = Vec::new();
    let stdout = child.stdout.take().expect("the output is a pipe");
    let read = async {
        stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut output).await?;
        child.wait().await
    };
    tokio::time::timeout(DEADLINE, read)
        .await
        .map_err(|_| format!("{program} has not ended after {} s", DEADLINE.as_secs()))?
        .map_err(failed)?;
    // smartctl before 7.3 prints a line of text first for some disks.
    let start = output.iter().position(|byte| *byte == b'{').unwrap_or(output.len());
    serde_json::from_slice(&output[start..]).map_err(|error| format!("{program} printed no JSON: {error}"))
}
