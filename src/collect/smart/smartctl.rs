//! Asking smartctl: which disks there are, and what one of them says.
//!
//! One program at a time, with a deadline and a bound on what it prints. A disk that sleeps is not woken
//! (`--nocheck=standby`). A program that waits for a dead disk cannot be killed: as long as it is there, no other is
//! started in its place.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// A disk with all its logs takes about 20 kB.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// A disk that recovers from an error may take half a minute.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bits of the exit status: the command line was wrong, the device could not be opened (or sleeps).
const STATUS_NOTHING_READ: i64 = 0b11;

/// How smartctl is asked for a disk, as smartctl_exporter does.
const READING: [&str; 8] = [
    "--json",
    "--info",
    "--health",
    "--attributes",
    "--tolerance=verypermissive",
    "--nocheck=standby",
    "--format=brief",
    "--log=error",
];

/// A disk as smartctl is asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// One use of the program: for the scan, or for one disk.
#[derive(Default)]
pub struct Smartctl {
    /// One that has not ended in time, and perhaps cannot be ended.
    stuck: Option<Child>,
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

impl Smartctl {
    /// The disks that `program` finds.
    pub async fn scan(&mut self, program: &str) -> Result<Vec<Device>, String> {
        let answer = self.run(program, &["--json".to_owned(), "--scan".to_owned()]).await?;
        Ok(scanned(&answer))
    }

    /// Asks for one disk.
    pub async fn read(&mut self, program: &str, device: &Device) -> Answer {
        let mut arguments: Vec<String> = READING.iter().map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--device={}", device.device_type));
        arguments.push(device.name.clone());
        match self.run(program, &arguments).await {
            Ok(answer) => judge(answer),
            Err(reason) => Answer::Failed(reason),
        }
    }

    async fn run(&mut self, program: &str, arguments: &[String]) -> Result<Value, String> {
        let failed = |error: std::io::Error| format!("{program} cannot be run: {error}");
        if let Some(child) = &mut self.stuck
            && matches!(child.try_wait(), Ok(None))
        {
            return Err(format!("the {program} that was started before has not ended: the disk does not answer"));
        }
        self.stuck = None;
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
        match tokio::time::timeout(DEADLINE, read).await {
            Ok(ended) => drop(ended.map_err(failed)?),
            Err(_) => {
                // A process in the kernel's hands takes the signal when it comes out of them.
                let _ = child.start_kill();
                self.stuck = Some(child);
                return Err(format!("{program} has not ended after {} s", DEADLINE.as_secs()));
            }
        }
        // smartctl before 7.3 prints a line of text first for some disks.
        let start = output.iter().position(|byte| *byte == b'{').unwrap_or(output.len());
        serde_json::from_slice(&output[start..]).map_err(|error| format!("{program} printed no JSON: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_second_program_beside_one_that_does_not_end() {
        let child = Command::new("sleep").arg("600").kill_on_drop(true).spawn().expect("sleep is there");
        let mut smartctl = Smartctl { stuck: Some(child) };
        let error = smartctl.run("echo", &["{}".to_owned()]).await.expect_err("one is there");
        assert_eq!(error, "the echo that was started before has not ended: the disk does not answer");
        smartctl.stuck.as_mut().expect("still").kill().await.expect("ours");
        assert_eq!(smartctl.run("echo", &["{}".to_owned()]).await, Ok(serde_json::json!({})));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_takes_too_long_is_given_up() {
        let mut smartctl = Smartctl::default();
        let error = smartctl.run("sleep", &["600".to_owned()]).await.expect_err("it says nothing");
        assert_eq!(error, "sleep has not ended after 60 s");
        assert!(smartctl.stuck.is_some());
    }
}
