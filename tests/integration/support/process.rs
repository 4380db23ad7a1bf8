//! Child processes that end with their test, and outpost among them.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{PATIENCE, eventually, get};

/// A program that is killed when it is dropped; what it writes is kept.
pub struct Process {
    child: Child,
    name: String,
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a program with its output collected.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), Arc::clone(&output));
        collect(child.stderr.take().unwrap(), Arc::clone(&output));
        Self { child, name: name.to_owned(), output }
    }

    /// What the program has written so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits for a line that holds both texts and gives what follows the second one up to a blank.
    pub fn wait_for_field(&mut self, line_with: &str, field: &str) -> String {
        let name = self.name.clone();
        eventually(PATIENCE, &format!("{name} says {line_with:?}"), || {
            let output = self.output();
            let line = output.lines().find(|line| line.contains(line_with) && line.contains(field));
            match (line, self.child.try_wait()) {
                (Some(line), _) => Ok(line.split(field).nth(1).unwrap().split_whitespace().next().unwrap().to_owned()),
                (None, Ok(Some(status))) => panic!("{name} ended with {status}: {output}"),
                (None, _) => Err(output),
            }
        })
    }

    /// Sends a signal by name, as `kill` takes it.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success(), "kill -{signal} {}", self.name);
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually(PATIENCE, &format!("{} ends", self.name), || {
            self.child.try_wait().unwrap().ok_or_else(|| "still running".to_owned())
        })
    }

    /// Whether the program has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {} wrote:\n{}", self.name, self.output());
        }
    }
}

fn collect(pipe: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut output = output.lock().unwrap();
            output.push_str(&line);
            output.push('\n');
        }
    });
}

/// An outpost with a folder of its own.
pub struct Outpost {
    /// The process.
    pub process: Process,
    /// `127.0.0.1:port`
    pub address: String,
    folder: TempDir,
    extra: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Outpost {
    /// Starts with this configuration and waits until it is ready.
    pub fn start(config: &str) -> Self {
        Self::start_with(Some(config), &[])
    }

    /// Starts with or without a configuration and with more arguments.
    pub fn start_with(config: Option<&str>, arguments: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), config, arguments)
    }

    /// Starts in a folder that may hold rule files already.
    pub fn start_in(folder: TempDir, config: Option<&str>, arguments: &[&str]) -> Self {
        Self::start_with_environment(folder, config, arguments, &[])
    }

    /// The same with more environment variables.
    pub fn start_with_environment(
        folder: TempDir,
        config: Option<&str>,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        if let Some(config) = config {
            std::fs::write(folder.path().join("outpost.yml"), config).unwrap();
        }
        let mut extra: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        if config.is_some() {
            extra.push("--config.file=outpost.yml".to_owned());
        }
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (process, address) = launch(folder.path(), &extra, &environment);
        Self { process, address, folder, extra, environment }
    }

    /// Starts where a plain request gets no answer: the caller waits until it is ready.
    pub fn start_guarded(folder: TempDir, config: &str, arguments: &[&str]) -> Self {
        std::fs::write(folder.path().join("outpost.yml"), config).unwrap();
        let mut extra: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        extra.push("--config.file=outpost.yml".to_owned());
        let (process, address) = spawn(folder.path(), &extra, &[]);
        Self { process, address, folder, extra, environment: Vec::new() }
    }

    /// Starts it again in the same folder after it has ended or was killed.
    pub fn restart(&mut self) {
        (self.process, self.address) = launch(self.folder.path(), &self.extra, &self.environment);
    }

    /// The folder that it runs in.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

fn spawn(folder: &Path, arguments: &[String], environment: &[(String, String)]) -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
    command.current_dir(folder).arg("--web.listen-address=127.0.0.1:0").args(arguments);
    if !arguments.iter().any(|argument| argument.starts_with("--storage.path=")) {
        command.arg("--storage.path=data");
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let mut process = Process::start("outpost", &mut command);
    let address = process.wait_for_field("listening", "address=");
    (process, address)
}

fn launch(folder: &Path, arguments: &[String], environment: &[(String, String)]) -> (Process, String) {
    let (process, address) = spawn(folder, arguments, environment);
    eventually(PATIENCE, "outpost is ready", || match get(&address, "/-/ready") {
        Ok(reply) if reply.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    (process, address)
}

/// Runs outpost to its end and gives exit code and output.
pub fn run_to_end(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outpost"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}
